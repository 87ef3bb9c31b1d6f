'use strict';
// typeorm.js VERSION [rows]: TypeORM's synchronize() with the entities of a version, what it would still change, and what
// it sees.

require('reflect-metadata');
const { DataSource, EntitySchema, In, QueryFailedError } = require('typeorm');

const { LATCHKEY_HOST, LATCHKEY_PORT, LATCHKEY_USER, LATCHKEY_PASSWORD, LATCHKEY_DATABASE, LATCHKEY_TOKEN } = process.env;

const User = new EntitySchema({
  name: 'User',
  tableName: 'users',
  columns: { id: { type: 'bigint', primary: true, generated: 'increment' }, email: { type: 'varchar', length: 100, unique: true } },
});

const Kind = new EntitySchema({
  name: 'Kind',
  tableName: 'kinds',
  columns: {
    id: { type: 'bigint', primary: true, generated: 'increment' },
    a_boolean: { type: 'boolean', default: false },
    an_integer: { type: 'int', nullable: true, default: 7 },
    a_small: { type: 'smallint', unsigned: true, nullable: true },
    a_bigint: { type: 'bigint', nullable: true },
    a_float: { type: 'float', nullable: true },
    a_double: { type: 'double', nullable: true },
    a_time: { type: 'time', nullable: true },
    a_datetime: { type: 'datetime', precision: 6, nullable: true, unique: true },
    a_timestamp: { type: 'timestamp', nullable: true },
    a_binary: { type: 'varbinary', length: 200, nullable: true },
    a_slug: { type: 'varchar', length: 30, default: '', charset: 'ascii', collation: 'ascii_bin' },
    a_choice: { type: 'enum', enum: ['red', 'dark green'], default: 'red' },
    a_set: { type: 'set', enum: ['a', 'b'], nullable: true },
    a_year: { type: 'year', nullable: true },
    a_char: { type: 'char', length: 5, default: '' },
    a_text: { type: 'longtext', nullable: true },
  },
  indices: [{ name: 'kinds_small', columns: ['a_small'] }],
});

const declareEntry = (version) => new EntitySchema({
  name: 'Entry',
  tableName: 'entries',
  columns: {
    id: { type: 'bigint', primary: true, generated: 'increment' },
    userId: { name: 'user_id', type: 'bigint' },
    title: { type: 'varchar', length: version === 1 ? 200 : 255 },
    [version === 1 ? 'body' : 'content']: { type: 'text', nullable: true },
    amount: { type: 'decimal', precision: 12, scale: 2, default: '0.00', comment: 'what it cost' },
    happenedOn: { name: 'happened_on', type: 'date', nullable: true },
    details: { type: 'json', nullable: true },
    ...(version === 2 && { mood: { type: 'varchar', length: 20, default: 'calm' } }),
    createdAt: { name: 'created_at', type: 'datetime', createDate: true },
    updatedAt: { name: 'updated_at', type: 'datetime', updateDate: true },
  },
  relations: { user: { target: 'User', type: 'many-to-one', joinColumn: { name: 'user_id', foreignKeyConstraintName: 'entries_user' } } },
  indices: [
    { name: 'entries_user_title', columns: ['userId', 'title'], unique: true },
    version === 1 ? { name: 'entries_title', columns: ['title'] } : { name: 'entries_happened_on', columns: ['happenedOn'] },
  ],
});

async function connect(version) {
  const source = new DataSource({
    type: 'mariadb',
    connectorPackage: 'mysql2',
    host: LATCHKEY_HOST,
    port: Number(LATCHKEY_PORT),
    username: LATCHKEY_USER,
    password: LATCHKEY_PASSWORD,
    database: LATCHKEY_DATABASE,
    dateStrings: true,
    entities: [User, Kind, declareEntry(version)],
    // One connection: it has the key.
    extra: { connectionLimit: 1 },
  });
  await source.initialize();
  if (LATCHKEY_TOKEN) await source.query('SET @latchkey = ?', [LATCHKEY_TOKEN]);
  return source;
}

async function migrate(source, version) {
  if (version === 2) {
    const runner = source.createQueryRunner();
    if (await runner.hasColumn('entries', 'body')) {
      await runner.renameColumn('entries', 'body', 'content');
      await runner.query('ALTER TABLE `entries` MODIFY `title` varchar(255) NOT NULL');
    }
    await runner.release();
  }
  const planned = async () => (await source.driver.createSchemaBuilder().log()).upQueries.map((q) => q.query);
  for (const query of await planned()) console.log('planned', query);
  await source.synchronize();
  const left = await planned();
  if (left.length > 0) throw new Error(`still planned: ${left.join('; ')}`);
}

async function show(source) {
  const runner = source.createQueryRunner();
  for (const table of (await runner.getTables(['users', 'entries', 'kinds'])).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const { columns, indices, foreignKeys, uniques, checks, engine, comment } = table;
    console.log(JSON.stringify({ name: table.name.split('.').pop(), engine, comment, foreignKeys: foreignKeys.map((k) => ({ ...k, referencedDatabase: undefined })), uniques, checks }));
    for (const c of columns) console.log(' ', JSON.stringify(c));
    for (const i of indices) console.log('  index', JSON.stringify(i));
  }
  await runner.release();
}

async function showEntries(entries) {
  for (const e of await entries.find({ order: { id: 'ASC' } })) {
    console.log('entry', JSON.stringify({ ...e, createdAt: undefined, updatedAt: undefined }));
  }
}

async function firstRows(source, entries) {
  await source.getRepository('User').insert({ id: 1, email: 'ann@example.org' });
  await entries.save({ userId: 1, title: 'First day', body: 'It rained.\nStill.', amount: '12.50', happenedOn: '2024-02-29', details: { mood: ['calm', 1, null] } });
  await entries.save([{ userId: 1, title: 'Zweiter Tag \u2013 \u00fc\u00df' }, { userId: 1, title: '\u{1f600} third', amount: -3 }]);
  await showEntries(entries);
}

async function showKinds(kinds) {
  await kinds.insert({});
  await kinds.save({
    a_boolean: true, an_integer: -7, a_small: 65535, a_bigint: '-9223372036854775808', a_float: 0.5, a_double: 0.1, a_time: '-01:02:03',
    a_datetime: '2024-02-29 23:59:59.123456', a_timestamp: '2024-02-29 23:59:59', a_binary: Buffer.from([0, 255, 39]), a_slug: 'a-slug', a_choice: 'dark green',
    a_set: ['a', 'b'], a_year: 1999, a_char: 'x ', a_text: '\u00e9'.repeat(70000),
  });
  await kinds.update({ id: 2 }, { a_double: 1e300, a_text: 'short' });
  for (const fields of [{ a_small: -1 }, { a_datetime: '2024-02-29 23:59:59.123456' }, { a_char: 'too long' }, { a_time: 'noon' }, { a_choice: 'blue' }, { a_slug: '\u00e9' }]) {
    await kinds.insert(fields).catch((e) => console.log(Object.keys(fields)[0], e.driverError.errno));
  }
  for (const { a_text, ...k } of await kinds.find({ order: { id: 'ASC' } })) console.log('kind', JSON.stringify(k), a_text && a_text.length);
}

async function secondRows(source, entries) {
  await showEntries(entries);
  const entry = await entries.findOneByOrFail({ title: 'first DAY' });
  await entries.save({ ...entry, amount: '13.50', mood: 'glad', content: '' });
  try {
    await entries.insert({ userId: 1, title: 'FIRST day' });
  } catch (e) {
    if (!(e instanceof QueryFailedError)) throw e;
    console.log('duplicate', e.driverError.errno);
  }
  await entries.save({ userId: 1, title: 'later', happenedOn: '2025-01-02' });
  console.log('deleted', (await entries.delete({ title: In(['\u{1f600} third', 'unknown']) })).affected);
  console.log('found', JSON.stringify(await entries.find({ select: { title: true, happenedOn: true, mood: true, amount: true }, where: { title: 'later' } })));
  await showEntries(entries);
  await showKinds(source.getRepository('Kind'));
}

async function main() {
  const version = Number(process.argv[2]);
  const source = await connect(version);
  await migrate(source, version);
  await show(source);
  if (process.argv.includes('rows')) {
    console.log('## rows');
    await (version === 1 ? firstRows : secondRows)(source, source.getRepository('Entry'));
  }
  await source.destroy();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
