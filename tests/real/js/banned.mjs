#!/usr/bin/env node
// Tells how MQTT.js sees a banned client refused: one JSON line for each protocol version and ban.
//
// The proxy must already hold a ban on the client ID and one on the username given. MQTT.js reports
// the code of the CONNACK as that of an "error"; a connection that ends without one fails the run.

import { parseArgs } from 'node:util'
import mqtt from 'mqtt'

const PATIENCE = 20_000
const VERSIONS = [
  { protocolVersion: 3, protocolId: 'MQIsdp', name: '3.1', refusal: 5 },
  { protocolVersion: 4, protocolId: 'MQTT', name: '3.1.1', refusal: 5 },
  { protocolVersion: 5, protocolId: 'MQTT', name: '5', refusal: 0x8a },
]

const { values: given } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    'banned-id': { type: 'string' },
    'banned-user': { type: 'string' },
  },
})
if (!given.port || !given['banned-id'] || !given['banned-user']) {
  console.error('usage: banned.mjs [--host H] --port P --banned-id X --banned-user Y')
  process.exit(2)
}

function attempt(options) {
  return new Promise((resolve) => {
    const client = mqtt.connect({ host: given.host, port: Number(given.port), reconnectPeriod: 0, ...options })
    const told = {}
    const timer = setTimeout(() => client.end(true), PATIENCE)
    client.on('connect', () => {
      told.code = 0
      client.end()
    })
    client.on('error', ({ code, message }) => Object.assign(told, { code, message }))
    client.on('close', () => {
      clearTimeout(timer)
      resolve(told)
    })
  })
}

const bans = {
  client_id: { clientId: given['banned-id'] },
  username: { clientId: 'real-banned-user', username: given['banned-user'], password: 'any' },
  null: { clientId: 'real-welcome', username: 'welcome', password: 'any' },
}
for (const { name, refusal, ...version } of VERSIONS) {
  for (const [ban, options] of Object.entries(bans)) {
    const observed = await attempt({ ...version, ...options })
    const wanted = ban === 'null' ? 0 : refusal
    if (observed.code !== wanted) process.exitCode = 1
    const refused = observed.code === refusal
    console.log(JSON.stringify({ client: 'mqttjs', version: name, ban: ban === 'null' ? null : ban, observed, refused }))
  }
}
