// The same with oauth4webapi, whose every step is a call of its own and which checks each answer against the specifications.
import * as oauth from 'oauth4webapi'
import { errorOf, importPrivateKey, options, tell, visit } from './line.mjs'

const insecure = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(options.issuer)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }))
const client = { client_id: options.client_id }
const key = { key: await importPrivateKey(options.jwk), kid: options.jwk.kid }
const authentication = oauth.PrivateKeyJwt(key)
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))
const withProof = { DPoP, ...insecure }

/** Runs a request again if the service asks for a nonce, as the library leaves it to its user. */
async function withNonce(request, process) {
  try {
    return await process(await request())
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return process(await request())
  }
}

const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
let parameters = new URLSearchParams({
  response_type: 'code',
  client_id: options.client_id,
  redirect_uri: options.redirect_uri,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  state,
  authorization_details: JSON.stringify(options.details),
  login_hint: options.login_hint,
})
if (options.signed) {
  parameters = new URLSearchParams({
    client_id: options.client_id,
    request: await oauth.issueRequestObject(as, client, parameters, key),
  })
}
const pushed = await withNonce(
  () => oauth.pushedAuthorizationRequest(as, client, authentication, parameters, withProof),
  (reply) => oauth.processPushedAuthorizationResponse(as, client, reply),
)
const url = new URL(as.authorization_endpoint)
url.searchParams.set('client_id', options.client_id)
url.searchParams.set('request_uri', pushed.request_uri)
const answer = oauth.validateAuthResponse(as, client, await visit(url), state)

const redeem = () => withNonce(
  () => oauth.authorizationCodeGrantRequest(as, client, authentication, answer, options.redirect_uri, verifier, withProof),
  (reply) => oauth.processAuthorizationCodeResponse(as, client, reply),
)
const tokens = await redeem()
tell('tokens', { tokens })
const introspect = async (token) =>
  oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication, token, insecure))
tell('introspected', { token: await introspect(tokens.access_token) })
const refresh = () => withNonce(
  () => oauth.refreshTokenGrantRequest(as, client, authentication, tokens.refresh_token, withProof),
  (reply) => oauth.processRefreshTokenResponse(as, client, reply),
)
const refreshed = await refresh()
tell('refreshed', { tokens: refreshed })
await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, tokens.refresh_token, insecure))
tell('revoked', { token: await introspect(refreshed.access_token), error: await errorOf(refresh) })
const own = await withNonce(
  () => oauth.clientCredentialsGrantRequest(as, client, authentication, { scope: 'check grants' }, withProof),
  (reply) => oauth.processClientCredentialsResponse(as, client, reply),
)
const grantUrl = new URL(`${options.issuer}/grants/${tokens.grant_id}`)
const reply = await withNonce(
  () => oauth.protectedResourceRequest(own.access_token, 'GET', grantUrl, undefined, undefined, withProof), (reply) => reply,
)
tell('grant', { status: reply.status, grant: await reply.json() })
tell('replayed', { error: await errorOf(redeem) })
tell('done')
process.exit(0)
