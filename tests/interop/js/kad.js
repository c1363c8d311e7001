// A node of a DHT with js-libp2p, told what to do by lines of JSON on its input: {"id": .., "do": .., ..}. It answers each with a
// line {"id": .., "ok": ..} or {"id": .., "error": ".."}, and ends with its input. Bytes are hexadecimal.
//
//     node kad.js PROTOCOL-NAME server|client

import './older-node.js'
import { createInterface } from 'node:readline'
import { identify, identifyPush } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'

// No query may take longer.
const PATIENCE = 30_000
const RAW = 0x55

const [protocol, mode] = process.argv.slice(2)

const node = await createLibp2p({
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: {
    identify: identify(),
    identifyPush: identifyPush(),
    ping: ping(),
    dht: kadDHT({
      protocol,
      clientMode: mode !== 'server',
      // Peers on loopback are peers.
      peerInfoMapper: passthroughMapper,
      allowQueryWithZeroPeers: true,
      // Tests say when the node looks itself up.
      initialQuerySelfInterval: 1000,
      // Besides /pk, which it has by itself: anything under /interop.
      validators: { interop: () => {} },
      selectors: { interop: () => 0 }
    })
  }
})
if (mode === 'server') {
  // Without a public address it would stay a client.
  await node.services.dht.setMode('server', { force: true })
}

const bytes = (hex) => Uint8Array.from(Buffer.from(hex, 'hex'))
const hex = (array) => Buffer.from(array).toString('hex')
const cid = (key) => CID.createV1(RAW, Digest.decode(bytes(key)))
const told = ({ id, multiaddrs }) => ({
  peer: id.toString(),
  addresses: multiaddrs.map((address) => address.toString())
})
const dht = node.services.dht
const options = () => ({ signal: AbortSignal.timeout(PATIENCE) })

async function all (events) {
  const list = []
  for await (const event of events) {
    list.push(event)
  }
  return list
}

const commands = {
  connect: async ({ peer, address }) => {
    await node.dial(multiaddr(`${address}/p2p/${peer}`), options())
  },
  // There is no other way into its table than to be connected.
  introduce: async ({ peer, address }) => {
    await node.dial(multiaddr(`${address}/p2p/${peer}`), options())
  },
  table: async () => {
    const peers = []
    for (const peer of dht.routingTable.kb.toIterable()) {
      peers.push(peer.peerId.toString())
    }
    return peers
  },
  closest: async ({ key }) => {
    const events = await all(dht.getClosestPeers(bytes(key), options()))
    return events.filter(({ name }) => name === 'FINAL_PEER').map(({ peer }) => told(peer))
  },
  put: async ({ key, value }) => {
    const events = await all(dht.put(bytes(key), bytes(value), options()))
    const answers = events.filter(({ name, messageName }) => name === 'PEER_RESPONSE' && messageName === 'PUT_VALUE')
    return answers.map(({ from }) => from.toString())
  },
  get: async ({ key }) => {
    const events = await all(dht.get(bytes(key), options()))
    const values = events.filter(({ name }) => name === 'VALUE').map(({ value }) => hex(value))
    return values[0] ?? null
  },
  provide: async ({ key }) => {
    await all(dht.provide(cid(key), options()))
  },
  providers: async ({ key }) => {
    const events = await all(dht.findProviders(cid(key), options()))
    return events.filter(({ name }) => name === 'PROVIDER').flatMap(({ providers }) => providers.map(told))
  },
  bootstrap: async () => {
    await dht.refreshRoutingTable(options())
  },
  serve: async ({ server }) => {
    await dht.setMode(server ? 'server' : 'client', { ...options(), force: true })
  }
}

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)

say({ ok: { peer: node.peerId.toString(), address: node.getMultiaddrs()[0].toString() } })

const input = createInterface({ input: process.stdin })
input.on('line', (line) => {
  const command = JSON.parse(line)
  commands[command.do](command).then(
    (ok) => say({ id: command.id, ok: ok ?? null }),
    (error) => say({ id: command.id, error: String(error?.stack ?? error) })
  )
})
input.on('close', () => process.exit(0))
