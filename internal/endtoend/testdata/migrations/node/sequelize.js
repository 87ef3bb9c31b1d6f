'use strict';
// sequelize.js VERSION [rows]: Sequelize's sync({alter: true}) with the models of a version, and what it sees.

const { DataTypes, Sequelize, UniqueConstraintError, fn, col } = require('sequelize');

const { LATCHKEY_HOST, LATCHKEY_PORT, LATCHKEY_USER, LATCHKEY_PASSWORD, LATCHKEY_DATABASE, LATCHKEY_TOKEN } = process.env;
const sent = [];
const sequelize = new Sequelize(LATCHKEY_DATABASE, LATCHKEY_USER, LATCHKEY_PASSWORD, {
  dialect: 'mysql',
  host: LATCHKEY_HOST,
  port: Number(LATCHKEY_PORT),
  logging: (text) => sent.push(text.replace(/^Executing \([^)]*\): /, '')),
  define: { underscored: true },
  hooks: {
    afterConnect: async (connection) => {
      if (LATCHKEY_TOKEN) await connection.promise().query('SET @latchkey = ?', [LATCHKEY_TOKEN]);
    },
  },
});

function declare(version) {
  const User = sequelize.define('User', { email: { type: DataTypes.STRING(100), allowNull: false } },
    { tableName: 'users', timestamps: false, indexes: [{ name: 'users_email', unique: true, fields: ['email'] }] });
  const Entry = sequelize.define('Entry', {
    title: { type: DataTypes.STRING(version === 1 ? 200 : 255), allowNull: false },
    [version === 1 ? 'body' : 'content']: { type: DataTypes.TEXT },
    amount: { type: DataTypes.DECIMAL(12, 2), allowNull: false, defaultValue: 0, comment: 'what it cost' },
    happenedOn: { type: DataTypes.DATEONLY },
    details: { type: DataTypes.JSON },
    ...(version === 2 && { mood: { type: DataTypes.STRING(20), allowNull: false, defaultValue: 'calm' } }),
  }, {
    tableName: 'entries',
    indexes: [
      { name: 'entries_user_title', unique: true, fields: ['user_id', 'title'] },
      version === 1 ? { name: 'entries_title', fields: ['title'] } : { name: 'entries_happened_on', fields: ['happened_on'] },
    ],
  });
  const Kind = sequelize.define('Kind', {
    aBoolean: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    anInteger: { type: DataTypes.INTEGER, defaultValue: 7 },
    aSmall: { type: DataTypes.SMALLINT.UNSIGNED },
    aBigint: { type: DataTypes.BIGINT },
    aFloat: { type: DataTypes.FLOAT },
    aDouble: { type: DataTypes.DOUBLE },
    aTime: { type: DataTypes.TIME },
    aDatetime: { type: DataTypes.DATE(6) },
    aBinary: { type: DataTypes.BLOB('medium') },
    aUuid: { type: DataTypes.UUID },
    aSlug: { type: DataTypes.STRING(30), defaultValue: '' },
    aChoice: { type: DataTypes.ENUM('red', "it's"), allowNull: false, defaultValue: 'red' },
    aChar: { type: DataTypes.CHAR(5), allowNull: false, defaultValue: '' },
    aText: { type: DataTypes.TEXT('long') },
  }, { tableName: 'kinds', timestamps: false, indexes: [{ name: 'kinds_datetime', unique: true, fields: ['a_datetime'] }, { name: 'kinds_small', fields: ['a_small'] }] });
  Entry.belongsTo(User, { foreignKey: { name: 'userId', allowNull: false } });
  return { User, Entry, Kind };
}

async function migrate(version) {
  const queries = sequelize.getQueryInterface();
  if (version === 2 && 'body' in await queries.describeTable('entries')) {
    await queries.renameColumn('entries', 'body', 'content');
    await queries.removeIndex('entries', 'entries_title');
  }
  sent.length = 0;
  await sequelize.sync({ alter: true });
  for (const text of sent) if (/^(ALTER|CREATE|DROP)/.test(text)) console.log('sent', text);
}

async function show() {
  const queries = sequelize.getQueryInterface();
  for (const table of (await queries.showAllTables()).sort()) {
    console.log(table);
    for (const [name, column] of Object.entries(await queries.describeTable(table))) console.log(' ', name, JSON.stringify(column));
    for (const index of await queries.showIndex(table)) console.log('  index', JSON.stringify(index));
    for (const key of await queries.getForeignKeyReferencesForTable(table)) console.log('  references', JSON.stringify({ ...key, constraintName: undefined }));
    for (const constraint of await queries.showConstraint(table)) console.log('  constraint', JSON.stringify(constraint));
  }
}

async function showEntries(Entry) {
  for (const e of await Entry.findAll({ order: ['id'] })) {
    console.log('entry', JSON.stringify({ ...e.get(), createdAt: undefined, updatedAt: undefined }));
  }
}

async function firstRows({ User, Entry }) {
  const user = await User.create({ id: 1, email: 'ann@example.org' });
  await Entry.create({ userId: user.id, title: 'First day', body: 'It rained.\nStill.', amount: '12.50', happenedOn: '2024-02-29', details: { mood: ['calm', 1, null] } });
  await Entry.bulkCreate([{ userId: user.id, title: 'Zweiter Tag \u2013 \u00fc\u00df' }, { userId: user.id, title: '\u{1f600} third', amount: -3 }]);
  await showEntries(Entry);
}

async function kinds(Kind) {
  const aDatetime = new Date('2024-02-29T23:59:59.123Z');
  await Kind.create({});
  const kind = await Kind.create({
    aBoolean: true, anInteger: -7, aSmall: 65535, aBigint: '-9223372036854775808', aFloat: 0.5, aDouble: 0.1, aTime: '01:02:03', aDatetime,
    aBinary: Buffer.from([0, 255, 39]), aUuid: 'b', aSlug: 'a-slug', aChoice: "it's", aChar: 'x ', aText: '\u00e9'.repeat(70000),
  });
  await kind.update({ aDouble: 1e300, aText: 'short' });
  for (const fields of [{ aSmall: -1 }, { aDatetime }, { aChar: 'too long' }, { aTime: 'noon' }]) {
    try {
      await Kind.create(fields);
    } catch (e) {
      if (!e.parent) throw e;
      console.log(Object.keys(fields)[0], e.parent.errno);
    }
  }
  console.log('found', await Kind.count({ where: { aDatetime } }));
  for (const k of await Kind.findAll({ order: ['id'] })) console.log('kind', JSON.stringify(k.get()));
}

async function secondRows({ Entry, Kind }) {
  await showEntries(Entry);
  const entry = await Entry.findOne({ where: { title: 'first DAY' }, rejectOnEmpty: true });
  await entry.update({ amount: '13.50', mood: 'glad', content: '' });
  try {
    await Entry.create({ userId: 1, title: 'FIRST day' });
  } catch (e) {
    if (!(e instanceof UniqueConstraintError)) throw e;
    console.log('duplicate', e.parent.errno, JSON.stringify(Object.keys(e.fields)));
  }
  await Entry.create({ userId: 1, title: 'later', happenedOn: '2025-01-02' });
  console.log('deleted', await Entry.destroy({ where: { title: ['\u{1f600} third', 'unknown'] } }));
  console.log('found', JSON.stringify(await Entry.findAll({ attributes: ['title', 'happenedOn', 'mood', 'amount'], where: { title: 'later' }, raw: true })));
  console.log('counted', JSON.stringify(await Entry.findOne({ attributes: [[fn('COUNT', col('content')), 'n']], raw: true })));
  await showEntries(Entry);
  await kinds(Kind);
}

async function main() {
  const version = Number(process.argv[2]);
  const models = declare(version);
  await migrate(version);
  await show();
  if (process.argv.includes('rows')) {
    console.log('## rows');
    await (version === 1 ? firstRows : secondRows)(models);
  }
  await sequelize.close();
}

main().catch((e) => {
  console.error(e);
  process.exit(1);
});
