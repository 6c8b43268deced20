// The gateway as an operator sets it up for Signal (docs/api.md). All settings that differ come
// from the environment.
import { readFileSync } from 'node:fs'
import { defineConfig, extractFromHeader } from '@graphql-hive/gateway'

const { SUPERGRAPH, PORT, HMAC_SECRET, ISSUER_PEM, ISSUER, AUDIENCE, REFUSE_HASHES } = process.env

// Asks apps with Apollo's persisted-query link for the text of their operations.
const persistedDocuments = {
  allowArbitraryDocuments: true,
  getPersistedOperation: () => null,
  customErrors: {
    notFound: {
      message: 'PersistedQueryNotSupported',
      extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' }
    }
  }
}

export const gatewayConfig = defineConfig({
  supergraph: SUPERGRAPH,
  host: '127.0.0.1',
  port: Number(PORT),
  jwt: {
    tokenLookupLocations: [extractFromHeader({ name: 'authorization', prefix: 'JWT' })],
    signingKeyProviders: [() => readFileSync(ISSUER_PEM, 'utf8')],
    tokenVerification: { issuer: ISSUER, audience: AUDIENCE, algorithms: ['RS256'] },
    reject: { missingToken: false, invalidToken: true },
    forward: { payload: true, token: false }
  },
  hmacSignature: { secret: HMAC_SECRET },
  persistedDocuments: REFUSE_HASHES ? persistedDocuments : undefined,
  propagateHeaders: {
    fromClientToSubgraphs({ request }) {
      const sent = (name) => request.headers.get(name) ?? ''
      return {
        authorization: sent('authorization'),
        'user-agent': sent('user-agent'),
        'x-forwarded-for': sent('x-forwarded-for')
      }
    }
  }
})
