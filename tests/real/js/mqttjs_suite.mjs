#!/usr/bin/env node
// Tells all that an MQTT.js client can see of a broker, as one JSON object per line.
//
// The transcripts of two runs, against a broker and against a proxy before it, are to be compared:
// equal output means that the client could not tell which was which. So nothing is printed that two
// runs may differ in; packet identifiers, which MQTT.js starts at random, are left out.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import mqtt from 'mqtt'

const PATIENCE = 20_000
// For everything: with a server that answers nothing, each scenario takes its whole patience.
const LIMIT = 120_000
const VERSIONS = { 4: '3.1.1', 5: '5' }

const { values: given } = parseArgs({
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string' },
    // tcp, tls, ws or wss; with the files of TLS, and the path of WebSockets.
    transport: { type: 'string', default: 'tcp' },
    path: { type: 'string', default: '/mqtt' },
    ca: { type: 'string' },
    cert: { type: 'string' },
    key: { type: 'string' },
    only: { type: 'string' },
    skip: { type: 'string', multiple: true, default: [] },
  },
})

const isTls = given.transport === 'tls' || given.transport === 'wss'
// With a certificate of its own, MQTT.js would speak TLS in any case.
const file = (path) => (isTls && path ? readFileSync(path) : undefined)
const way = {
  protocol: { tcp: 'mqtt', tls: 'mqtts', ws: 'ws', wss: 'wss' }[given.transport],
  path: given.path,
  ca: file(given.ca),
  cert: file(given.cert),
  key: file(given.key),
}

const sha256 = (payload) => createHash('sha256').update(payload).digest('hex')
const readable = (_key, value) => (value?.type === 'Buffer' ? Buffer.from(value.data).toString('hex') : value)

function patiently(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${PATIENCE / 1000} s for ${what}`)), PATIENCE)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function seen({ topic, qos, retain, dup, payload, properties }) {
  const shown = payload.length <= 64 ? payload.toString() : sha256(payload)
  return { topic, qos, retain, dup, payload: shown, properties }
}

function connackSeen({ sessionPresent, returnCode, reasonCode, properties = {} }) {
  const masked = { ...properties }
  if (masked.assignedClientIdentifier) {
    masked.assignedClientIdentifier = masked.assignedClientIdentifier.replaceAll(/\w/g, 'x')
  }
  return { sessionPresent, code: reasonCode ?? returnCode, properties: masked }
}

// One client, and all that it has seen.
class Peer {
  connacks = []
  trace = []
  messages = []

  constructor(stage, clientId, options) {
    this.stage = stage
    this.clientId = clientId
    this.client = mqtt.connect({
      host: given.host,
      port: Number(given.port),
      ...way,
      protocolVersion: stage.version,
      reconnectPeriod: 0,
      // So that the listeners below see the very first packet.
      manualConnect: true,
      ...options,
      clientId,
    })
    this.client.on('packetsend', (packet) => this.note('>', packet))
    this.client.on('packetreceive', (packet) => this.note('<', packet))
    this.client.on('connect', (packet) => this.connacks.push(connackSeen(packet)))
    this.client.on('message', (_topic, _payload, packet) => {
      this.messages.push(seen(packet))
      this.client.emit('taken')
    })
    this.client.on('disconnect', (packet) => (this.told = packet.reasonCode))
    this.client.on('error', (error) => (this.error = { code: error.code, message: error.message }))
  }

  note(direction, { cmd, qos, reasonCode, returnCode }) {
    const code = reasonCode ?? returnCode
    const facts = [direction, cmd, cmd === 'publish' && `qos ${qos}`, code && `code ${code}`]
    this.trace.push(facts.filter(Boolean).join(' '))
  }

  async enter() {
    this.client.connect()
    await this.event('connect')
    return this
  }

  event(name) {
    return patiently(once(this.client, name), `"${name}" at ${this.clientId}`)
  }

  async subscribe(filter, options = { qos: 1 }) {
    const granted = await patiently(this.client.subscribeAsync(filter, options), `SUBACK at ${this.clientId}`)
    return granted.map(({ qos }) => qos)
  }

  publish(topic, payload, options = { qos: 1 }) {
    return patiently(this.client.publishAsync(topic, payload, options), `acknowledgement at ${this.clientId}`)
  }

  // The next `count` messages, once they have come.
  async take(count) {
    while (this.messages.length < count) await this.event('taken')
    return this.messages.splice(0, count)
  }

  async takeOne() {
    return (await this.take(1))[0]
  }

  // What the broker had queued for this client has come when the round trip ends.
  async takeAll() {
    await this.subscribe(this.stage.topic('fence'))
    return this.messages.splice(0)
  }

  // Resolves when the server has closed too, hence has acted on the DISCONNECT.
  async leave() {
    await patiently(this.client.endAsync(), `the end of ${this.clientId}`)
    this.stage.peers.delete(this)
  }

  // Cuts the connection with no DISCONNECT.
  async vanish() {
    const closed = this.event('close')
    this.client.stream.destroy()
    await closed
    this.stage.peers.delete(this)
  }
}

// The clients of one scenario, its own names, and what it must clean up.
class Stage {
  peers = new Set()
  retained = new Set()
  residents = new Set()

  constructor(name, version) {
    this.name = name
    this.version = version
  }

  get v5() {
    return this.version === 5
  }

  topic(...levels) {
    return ['real', 'js', this.name, VERSIONS[this.version], ...levels].join('/')
  }

  build(name, options = {}) {
    const peer = new Peer(this, `js-${this.name}-${VERSIONS[this.version]}-${name}`, options)
    this.peers.add(peer)
    return peer
  }

  peer(name, options) {
    return this.build(name, options).enter()
  }

  // A client whose session outlives its connection.
  resident(name, options = {}) {
    this.residents.add(name)
    const properties = this.v5 ? { sessionExpiryInterval: 300 } : undefined
    return this.peer(name, { clean: false, properties, ...options })
  }

  async subscriber(filter, options = { qos: 1 }) {
    const peer = await this.peer('subscriber')
    await peer.subscribe(filter, options)
    return peer
  }

  async cleanUp() {
    for (const peer of this.peers) if (peer.client.connected) await peer.leave()
    for (const name of this.residents) await (await this.peer(name)).leave()
    if (this.retained.size === 0) return
    const sweeper = await this.peer('sweeper')
    for (const topic of this.retained) await sweeper.publish(topic, '', { qos: 1, retain: true })
    await sweeper.leave()
  }
}

const scenarios = {
  async connect(stage) {
    const will = { topic: stage.topic('will'), payload: Buffer.from('w'), qos: 1, retain: true }
    const hows = {
      clean: {},
      login: { username: 'üser', password: Buffer.from([0, 255, 254, 0]) },
      will: { will },
      everything: { will, username: 'someone', password: 'secret', keepalive: 0 },
    }
    if (stage.v5) {
      hows.properties = {
        properties: {
          receiveMaximum: 7,
          maximumPacketSize: 100_000,
          topicAliasMaximum: 5,
          userProperties: { a: ['1', '2'] },
        },
      }
    }
    const observed = {}
    for (const [name, options] of Object.entries(hows)) {
      const peer = await stage.peer(name, options)
      await peer.leave()
      observed[name] = { connacks: peer.connacks, trace: peer.trace }
    }
    return observed
  },

  async everyQualityOfService(stage) {
    const observed = {}
    for (const qos of [0, 1, 2]) {
      const subscriber = await stage.subscriber(stage.topic('t'), { qos: 2 })
      const publisher = await stage.peer('publisher')
      await publisher.publish(stage.topic('t'), `at ${qos}`, { qos })
      const message = await subscriber.takeOne()
      assert.equal(message.qos, qos)
      await publisher.leave()
      await subscriber.leave()
      observed[qos] = { message, publisher: publisher.trace, subscriber: subscriber.trace }
    }
    return observed
  },

  async orderIsKept(stage) {
    const subscriber = await stage.subscriber(stage.topic('t'), { qos: 2 })
    const publisher = await stage.peer('publisher')
    // MQTT.js sends them all at once, and a broker may let only so many be in flight.
    const wanted = Array.from({ length: 20 }, (_, n) => String(n))
    await Promise.all(wanted.map((payload) => publisher.publish(stage.topic('t'), payload, { qos: 2 })))
    const messages = await subscriber.take(wanted.length)
    assert.deepEqual(messages.map(({ payload }) => payload), wanted)
    assert.deepEqual(await subscriber.takeAll(), [])
    return messages.length
  },

  async retained(stage) {
    const topic = stage.topic('t')
    stage.retained.add(topic)
    const publisher = await stage.peer('publisher')
    await publisher.publish(topic, 'kept', { qos: 1, retain: true })
    const late = await stage.subscriber(topic)
    const message = await late.takeOne()
    assert.equal(message.retain, true)
    await publisher.publish(topic, '', { qos: 1, retain: true })
    const tooLate = await stage.peer('too-late')
    await tooLate.subscribe(topic)
    assert.deepEqual(await tooLate.takeAll(), [])
    return { message, clearing: await late.takeOne() }
  },

  async will(stage) {
    const topic = stage.topic('will')
    const properties = stage.v5
      ? { contentType: 'text/plain', correlationData: Buffer.from([0, 255]), userProperties: { k: 'v' } }
      : undefined
    const will = { topic, payload: Buffer.from('gone'), qos: 1, properties }
    const observer = await stage.subscriber(topic)
    await (await stage.peer('polite', { will })).leave()
    assert.deepEqual(await observer.takeAll(), [], 'no will after a DISCONNECT')
    await (await stage.peer('mortal', { will })).vanish()
    return observer.takeOne()
  },

  async properties(stage) {
    if (!stage.v5) return undefined
    const topic = stage.topic('t')
    const subscriber = await stage.subscriber(topic, { qos: 1, properties: { subscriptionIdentifier: 42 } })
    const publisher = await stage.peer('publisher')
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'application/json',
      responseTopic: stage.topic('réponse'),
      correlationData: Buffer.from([0, 1, 254, 255]),
      userProperties: { key: ['1', '2'], ключ: '値' },
    }
    await publisher.publish(topic, '{}', { qos: 1, properties: { ...properties, topicAlias: 1 } })
    await publisher.publish('', '[]', { qos: 1, properties: { topicAlias: 1 } })
    const messages = await subscriber.take(2)
    assert.equal(JSON.stringify(messages[0].properties.userProperties), JSON.stringify(properties.userProperties))
    assert.equal(messages[1].topic, topic)
    return { messages, publisher: publisher.trace }
  },

  async unsubscribe(stage) {
    const peer = await stage.subscriber(stage.topic('#'))
    await patiently(peer.client.unsubscribeAsync(stage.topic('#')), 'UNSUBACK')
    await peer.publish(stage.topic('t'), 'unheard', { qos: 0 })
    assert.deepEqual(await peer.takeAll(), [])
    return peer.trace
  },

  async sessionResumption(stage) {
    const topic = stage.topic('t')
    const resident = await stage.resident('resident')
    await resident.subscribe(topic)
    await resident.leave()
    const publisher = await stage.peer('publisher')
    for (const n of [0, 1, 2]) await publisher.publish(topic, `queued ${n}`)
    const back = await stage.resident('resident')
    const queued = await back.take(3)
    assert.equal(back.connacks[0].sessionPresent, true)
    return { first: resident.connacks, back: back.connacks, queued }
  },

  async reconnect(stage) {
    const topic = stage.topic('t')
    const peer = await stage.resident('resident', { reconnectPeriod: 50, resubscribe: false })
    await peer.subscribe(topic)
    const [closed, connected] = [peer.event('close'), peer.event('connect')]
    peer.client.stream.destroy()
    await closed
    // MQTT.js keeps it until it is connected again.
    await peer.publish(topic, 'while away')
    await connected
    assert.equal(peer.connacks[1].sessionPresent, true)
    return { connacks: peer.connacks, message: await peer.takeOne() }
  },

  async takeOver(stage) {
    const first = await stage.peer('same')
    const closed = first.event('close')
    const second = await stage.peer('same')
    await closed
    stage.peers.delete(first)
    // The standard demands a DISCONNECT in version 5, yet mosquitto sends it only since 2.0.15.
    if (first.told !== undefined) assert.equal(first.told, 0x8e)
    return { told: first.told ?? null, error: first.error ?? null, first: first.trace, second: second.connacks }
  },

  async refusedByTheBroker(stage) {
    if (!stage.v5) return undefined
    const peer = stage.build('stranger', { properties: { authenticationMethod: 'no-such-method' } })
    // Not by `event`, for "error" comes first.
    const closed = new Promise((resolve) => peer.client.once('close', resolve))
    peer.client.connect()
    await patiently(closed, 'the close after the refusal')
    stage.peers.delete(peer)
    return { error: peer.error, trace: peer.trace }
  },

  async payloadOf16Mib(stage) {
    const payload = Buffer.alloc(16 * 1024 * 1024)
    for (let at = 0; at < payload.length; at += 4) payload.writeUInt32BE(Math.imul(at, 2_654_435_761) >>> 0, at)
    const subscriber = await stage.subscriber(stage.topic('t'))
    const publisher = await stage.peer('publisher')
    await publisher.publish(stage.topic('t'), payload)
    const message = await subscriber.takeOne()
    assert.equal(message.payload, sha256(payload))
    return message
  },
}

async function run(name, version, play) {
  const stage = new Stage(name, version)
  try {
    const observed = await play(stage)
    await stage.cleanUp()
    if (observed === undefined) return
    console.log(JSON.stringify({ scenario: name, version: VERSIONS[version], observed }, readable))
  } catch (error) {
    console.error(`${name} (${VERSIONS[version]}): ${error.message}`)
    process.exitCode = 1
    await stage.cleanUp().catch(() => {})
    for (const { client } of stage.peers) client.end(true)
  }
}

if (given.port === undefined || (given.only && !Object.hasOwn(scenarios, given.only))) {
  console.error(`usage: mqttjs_suite.mjs [--host H] --port P [--only ${Object.keys(scenarios).join('|')}]`)
  process.exit(2)
}
setTimeout(() => {
  console.error(`not done within ${LIMIT / 1000} s`)
  process.exit(1)
}, LIMIT).unref()
for (const [name, play] of Object.entries(scenarios)) {
  if (given.skip.includes(name) || (given.only !== undefined && given.only !== name)) continue
  for (const version of [4, 5]) await run(name, version, play)
}
