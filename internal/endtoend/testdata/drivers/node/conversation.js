// Holds a conversation (see ../FORMAT.txt) through mysql2 or mariadb.
// Modes: mysql2-query, mysql2-execute, mariadb-query, mariadb-execute, and mariadb-pipelined, which sends every step without
// waiting for the answers before it, but for batches, which the driver prepares before it queues them. A third word, compressed,
// asks for compression.
'use strict';

const fs = require('node:fs');

const [driver, how, compressed] = process.argv[2].split('-');

async function connect() {
  const env = process.env;
  const options = {
    host: env.LATCHKEY_HOST,
    port: Number(env.LATCHKEY_PORT),
    user: env.LATCHKEY_USER,
    password: env.LATCHKEY_PASSWORD,
    database: env.LATCHKEY_DATABASE,
    charset: 'utf8mb4',
    dateStrings: true,
    compress: compressed !== undefined,
  };
  if (driver === 'mysql2') return require('mysql2/promise').createConnection(options);
  delete options.charset;
  return require('mariadb').createConnection({ ...options, pipelining: true });
}

function argument(field) {
  const colon = field.indexOf(':');
  const value = field.slice(colon + 1);
  switch (field.slice(0, colon)) {
    case 'i':
    case 'f': return Number(value);
    case 'b': return Buffer.from(value, 'hex');
    case 'n': return null;
    case 'k': return process.env['LATCHKEY_KEY_' + value.toUpperCase()];
    case 'l': return "zebra é✓ 'q' \\\n".repeat(Number(value));
  }
  return value;
}

function show(value) {
  if (value === null) return '\\N';
  if (Buffer.isBuffer(value)) return value.toString('hex');
  const octets = Buffer.from(String(value));
  if (octets.length <= 1000) return String(value);
  let sum = 0;
  for (const octet of octets) sum = (sum * 31 + octet) % 2147483647;
  return `len=${octets.length} sum=${sum}`;
}

function report(verb, label, answer) {
  const result = driver === 'mysql2' ? answer[0] : answer;
  if (!Array.isArray(result)) {
    return [`${label}\taffected=${result.affectedRows}${verb === 'insert' ? ` id=${result.insertId}` : ''}`];
  }
  return result.map((row) => [label, ...Object.values(row).map(show)].join('\t'));
}

function bound(conn, sql, values) {
  return how === 'execute' ? conn.execute(sql, values) : conn.query(sql, values);
}

async function batch(conn, sql, sets) {
  if (driver === 'mariadb') return conn.batch(sql, sets);
  return conn.query(sql.replace(/VALUES .*/, 'VALUES ?'), [sets]);
}

// step sends everything before it waits for anything.
async function step(conn, { verb, label, sql, sets }) {
  switch (verb) {
    case 'text':
      return report(verb, label, await conn.query(sql));
    case 'begin':
      await conn.beginTransaction();
      break;
    case 'commit':
      await conn.commit();
      break;
    case 'rollback':
      await conn.rollback();
      break;
    case 'batch':
      await batch(conn, sql, sets);
      break;
    default: {
      const answers = await Promise.all(sets.map((values) => bound(conn, sql, values)));
      return answers.flatMap((answer) => report(verb, label, answer));
    }
  }
  return [`${label}\tdone`];
}

function read(files) {
  const steps = [];
  for (const file of files) {
    for (const line of fs.readFileSync(file, 'utf8').split('\n')) {
      if (line === '') continue;
      if (line.startsWith('\t')) {
        steps.at(-1).sets.push(line.slice(1).split('\t').map(argument));
      } else {
        const [verb, label, sql = ''] = line.split('\t');
        steps.push({ verb, label, sql, sets: [] });
      }
    }
  }
  return steps;
}

async function main() {
  const conn = await connect();
  const attempt = (s) => step(conn, s).catch((error) => {
    if (!error.errno) throw error;
    return [`${s.label}\terror=${error.errno}`];
  });
  const steps = read(process.argv.slice(3));
  const answers = [];
  for (const s of steps) {
    const together = how === 'pipelined' && s.verb !== 'batch';
    if (!together) await Promise.all(answers);
    const answer = attempt(s);
    answers.push(together ? answer : await answer);
  }
  const lines = (await Promise.all(answers)).flat();
  process.stdout.write(lines.map((line) => line + '\n').join(''));
  await conn.end();
}

main();
