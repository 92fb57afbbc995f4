// What a kafkajs application does: node walk.js BOOTSTRAP STEP [STOP_FILE].
'use strict'
const assert = require('node:assert')
const { randomUUID } = require('node:crypto')
const { existsSync } = require('node:fs')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const [bootstrap, step, stopFile] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'walk', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { retries: 8 } })
const name = (base) => `${base}-${randomUUID()}`

// Waits until a condition holds; the limit is far above what it takes.
const until = async (what, condition) => {
  const end = Date.now() + 60000
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited 60 s for: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

const withAdmin = async (work) => {
  const admin = kafka.admin()
  await admin.connect()
  try { return await work(admin) } finally { await admin.disconnect() }
}

const create = (topic, numPartitions) => withAdmin((admin) => admin.createTopics({ waitForLeaders: true, topics: [{ topic, numPartitions }] }))

const produce = async (topic, messages, options = {}, producerOptions = {}) => {
  const producer = kafka.producer(producerOptions)
  await producer.connect()
  try { return await producer.send({ topic, messages, ...options }) } finally { await producer.disconnect() }
}

// Reads a topic from its beginning with a group until n messages have come.
const consume = async (topic, n, groupId = name('group')) => {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  const seen = []
  await consumer.run({ eachMessage: async ({ partition, message }) => { seen.push({ partition, ...message }) } })
  try { await until(`${n} messages`, () => seen.length >= n) } finally { await consumer.disconnect() }
  assert.strictEqual(seen.length, n)
  return seen
}

const steps = {
  async codecs () {
    for (const codec of ['None', 'GZIP', 'Snappy']) {
      const topic = name(`codec-${codec}`)
      await create(topic, 1)
      const messages = Array.from({ length: 300 }, (_, i) => ({ key: i % 3 ? `k${i}` : null, value: i % 7 ? `value ${i} `.repeat(i % 40 + 1) : null, headers: { h: `${i}` } }))
      const [sent] = await produce(topic, messages, { compression: CompressionTypes[codec] })
      assert.strictEqual(sent.errorCode, 0)
      const seen = await consume(topic, messages.length)
      seen.forEach((message, i) => {
        assert.strictEqual(message.offset, `${i}`)
        assert.strictEqual(message.key && message.key.toString(), messages[i].key)
        assert.strictEqual(message.value && message.value.toString(), messages[i].value)
        assert.strictEqual(message.headers.h.toString(), `${i}`)
      })
    }
  },

  async groups () {
    const topic = name('groups')
    const groupId = name('group')
    await create(topic, 4)
    const messages = (from, to) => Array.from({ length: to - from }, (_, i) => ({ value: `${from + i}`, partition: i % 4 }))
    await produce(topic, messages(0, 200))
    const seen = new Set()
    const member = async () => {
      const consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 300, rebalanceTimeout: 10000 })
      const state = { consumer, partitions: [] }
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => { state.partitions = payload.memberAssignment[topic] || [] })
      await consumer.connect()
      await consumer.subscribe({ topic, fromBeginning: true })
      await consumer.run({ eachMessage: async ({ message }) => { seen.add(message.value.toString()) } })
      return state
    }
    const first = await member()
    await until('all messages at the first member', () => seen.size === 200 && first.partitions.length === 4)
    const second = await member()
    await until('two partitions for each', () => first.partitions.length === 2 && second.partitions.length === 2)
    await produce(topic, messages(200, 400))
    await until('the new messages', () => seen.size === 400)
    await second.consumer.disconnect()
    await until('all partitions back at the first', () => first.partitions.length === 4)
    await first.consumer.disconnect()
    await withAdmin(async (admin) => {
      const [offsets] = await admin.fetchOffsets({ groupId, topics: [topic] })
      assert.strictEqual(offsets.partitions.reduce((sum, { offset }) => sum + Number(offset), 0), 400)
      const { groups } = await admin.describeGroups([groupId])
      assert.strictEqual(groups[0].state, 'Empty')
      await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '7' }] })
      const [moved] = await admin.fetchOffsets({ groupId, topics: [topic] })
      assert.strictEqual(moved.partitions.find(({ partition }) => partition === 0).offset, '7')
      await admin.deleteGroups([groupId])
    })
  },

  async admin () {
    const topic = name('admin')
    await withAdmin(async (admin) => {
      const cluster = await admin.describeCluster()
      assert.strictEqual(cluster.brokers.length, 1)
      const entries = [{ name: 'cleanup.policy', value: 'compact' }]
      assert.strictEqual(await admin.createTopics({ topics: [{ topic, numPartitions: 2, configEntries: entries }] }), true)
      assert.strictEqual(await admin.createTopics({ topics: [{ topic }] }), false)
      await admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] })
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
      assert.strictEqual(topics[0].partitions.length, 3)
      const { resources } = await admin.describeConfigs({ includeSynonyms: true, resources: [{ type: 2, name: topic, configNames: ['cleanup.policy'] }] })
      assert.strictEqual(resources[0].configEntries[0].configValue, 'compact')
      await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: [{ name: 'retention.ms', value: '1000' }] }] })
      const plain = name('records')
      await create(plain, 1)
      await produce(plain, Array.from({ length: 50 }, (_, i) => ({ value: `${i}` })))
      // kafkajs finds the leader only of topics that this admin has asked about before.
      await admin.fetchTopicOffsets(plain)
      await admin.deleteTopicRecords({ topic: plain, partitions: [{ partition: 0, offset: '20' }] })
      const [offsets] = await admin.fetchTopicOffsets(plain)
      assert.deepStrictEqual([offsets.low, offsets.high], ['20', '50'])
      const [byTime] = await admin.fetchTopicOffsetsByTimestamp(plain, 0)
      assert.strictEqual(byTime.offset, '20')
      await admin.deleteTopics({ topics: [topic] })
      await until('the topic is gone', async () => !(await admin.listTopics()).includes(topic))
    })
  },

  async idempotent () {
    const topic = name('idempotent')
    await create(topic, 1)
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (let i = 0; i < 100; i++) await producer.send({ topic, acks: -1, messages: [{ value: `${2 * i}` }, { value: `${2 * i + 1}` }] })
    await producer.disconnect()
    const seen = await consume(topic, 200)
    seen.forEach((message, i) => assert.strictEqual(message.value.toString(), `${i}`))
  },

  // Idempotent, while somebody kills the broker, until a file exists; then everything is held against what is there.
  async endure () {
    const topic = name('endure-kafkajs')
    await create(topic, 1)
    console.log('ready')
    const patient = new Kafka({ clientId: 'endure', brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { initialRetryTime: 50, maxRetryTime: 300, retries: 400 } })
    const producer = patient.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    let number = 0
    while (!existsSync(stopFile)) {
      const messages = Array.from({ length: 10 }, (_, i) => ({ value: `${number + i}`, partition: 0 }))
      const [{ baseOffset }] = await producer.send({ topic, acks: -1, messages })
      assert.strictEqual(baseOffset, `${number}`)
      number += messages.length
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await producer.disconnect()
    const seen = await consume(topic, number)
    seen.forEach((message, i) => assert.strictEqual(message.value.toString(), `${i}`))
    console.log(`${number} records`)
  },
}

steps[step]().then(() => { console.log(`ok ${step}`); process.exit(0) }, (error) => { console.error(error); process.exit(1) })
