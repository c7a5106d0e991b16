// The whole flow with openid-client as it is on npm: metadata, signed and pushed request, consent, code, refresh, introspection,
// revocation, client credentials and a call with a token, each with private_key_jwt and DPoP.
import * as client from 'openid-client'
import { errorOf, importPrivateKey, options, tell, visit } from './line.mjs'

const key = { key: await importPrivateKey(options.jwk), kid: options.jwk.kid }
const config = await client.discovery(
  new URL(options.issuer),
  options.client_id,
  { use_mtls_endpoint_aliases: false },
  client.PrivateKeyJwt(key),
  { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
)
const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair('ES256'))

const verifier = client.randomPKCECodeVerifier()
const state = client.randomState()
const parameters = {
  redirect_uri: options.redirect_uri,
  code_challenge: await client.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  authorization_details: JSON.stringify(options.details),
  login_hint: options.login_hint,
}
if (options.signed) {
  const url = await client.buildAuthorizationUrlWithJAR(config, parameters, key)
  parameters.request = url.searchParams.get('request')
}
const pushed = options.signed ? { request: parameters.request } : parameters
const returned = await visit(await client.buildAuthorizationUrlWithPAR(config, pushed, { DPoP }))

const tokens = await client.authorizationCodeGrant(
  config, returned, { pkceCodeVerifier: verifier, expectedState: state }, undefined, { DPoP },
)
tell('tokens', { tokens })
tell('introspected', { token: await client.tokenIntrospection(config, tokens.access_token) })
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
tell('refreshed', { tokens: refreshed })
await client.tokenRevocation(config, tokens.refresh_token)
tell('revoked', {
  token: await client.tokenIntrospection(config, refreshed.access_token),
  error: await errorOf(() => client.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })),
})
const own = await client.clientCredentialsGrant(config, { scope: 'check grants' }, { DPoP })
const reply = await client.fetchProtectedResource(
  config, own.access_token, new URL(`${options.issuer}/grants/${tokens.grant_id}`), 'GET', undefined, undefined, { DPoP },
)
tell('grant', { status: reply.status, grant: await reply.json() })
tell('replayed', {
  error: await errorOf(() =>
    client.authorizationCodeGrant(config, returned, { pkceCodeVerifier: verifier, expectedState: state }, undefined, { DPoP })),
})
tell('done')
process.exit(0)
