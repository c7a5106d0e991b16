// What both programs share: one JSON object in, lines of JSON out, one line in for each answer that a browser brings back.
import { createInterface } from 'node:readline'

export const options = JSON.parse(process.argv[2])

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export function tell(step, values = {}) {
  process.stdout.write(JSON.stringify({ step, ...values }) + '\n')
}

/** Sends the person to `url` and returns where the service sent her back to. */
export async function visit(url) {
  tell('visit', { url: String(url) })
  const { value } = await lines.next()
  return new URL(JSON.parse(value))
}

export async function importPrivateKey(jwk) {
  const { kid, use, alg, key_ops, ...key } = jwk
  return crypto.subtle.importKey('jwk', key, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
}

/** The name of the error that `work` ends with. */
export async function errorOf(work) {
  try {
    await work()
  } catch (error) {
    return error.error ?? error.cause?.error ?? error.cause?.[0]?.parameters?.error ?? error.code ?? String(error)
  }
  return null
}
