// The gateway's canonical form by JavaScript's own means. The input is one JSON document per line;
// the output is its canonical text as JSON.
const canonical = (value) => {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const keys = Object.keys(value).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`
}
const lines = require('node:fs').readFileSync(0, 'utf8').split('\n').filter(Boolean)
// A gateway reads what its client wrote, and writes it again: these bytes are the wire.
const wire = lines.map((line) => JSON.stringify(JSON.parse(line)))
process.stdout.write(wire.map((text) => JSON.stringify([text, canonical(JSON.parse(text))])).join('\n'))
