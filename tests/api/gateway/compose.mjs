// Composes subgraphs into a supergraph: node compose.mjs NAME URL SDL_FILE [NAME URL SDL_FILE ...]
// > supergraph.graphql
import { readFileSync } from 'node:fs'
import { composeServices } from '@theguild/federation-composition'
import { parse } from 'graphql'

const services = []
for (let at = 2; at < process.argv.length; at += 3) {
  const [name, url, file] = process.argv.slice(at, at + 3)
  services.push({ name, url, typeDefs: parse(readFileSync(file, 'utf8')) })
}
const composed = composeServices(services)
if (composed.errors?.length) {
  console.error(composed.errors.map((error) => error.message).join('\n'))
  process.exit(1)
}
process.stdout.write(composed.supergraphSdl)
