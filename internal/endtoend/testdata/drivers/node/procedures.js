// Serves requests (see ../FORMAT.txt) through mysql2 or mariadb. Modes: mysql2-query, mysql2-execute, mariadb-query,
// mariadb-execute.
'use strict';

const readline = require('node:readline');

const [driver, how] = process.argv[2].split('-');

function connect() {
  const env = process.env;
  const options = {
    host: env.LATCHKEY_HOST,
    port: Number(env.LATCHKEY_PORT),
    user: env.LATCHKEY_USER,
    password: env.LATCHKEY_PASSWORD,
    database: env.LATCHKEY_DATABASE,
    multipleStatements: true,
  };
  if (driver === 'mysql2') return require('mysql2/promise').createConnection({ ...options, rowsAsArray: true });
  return require('mariadb').createConnection({ ...options, rowsAsArray: true, logParam: false });
}

function say(...fields) {
  process.stdout.write(fields.join('\t') + '\n');
}

function result(rows, meta) {
  if (!Array.isArray(rows)) return say('ok');
  say('columns', ...meta.map((column) => (driver === 'mysql2' ? column.name : column.name())));
  for (const row of rows) say('row', ...row);
}

function report(answer, several) {
  if (driver === 'mariadb') {
    for (const rows of several ? answer : [answer]) result(rows, rows.meta);
    return;
  }
  const [rows, meta] = answer;
  if (!several) return result(rows, meta);
  rows.forEach((each, i) => result(each, meta[i]));
}

async function serve(conn, [kind, sql, ...values]) {
  values = values.map((value) => (value === '\\N' ? null : value));
  for (let i = 0; i < (kind === 'twice' ? 2 : 1); i++) {
    if (kind === 'text' || kind === 'several') report(await conn.query(sql), kind === 'several');
    else report(how === 'execute' ? await conn.execute(sql, values) : await conn.query(sql, values), false);
  }
}

async function main() {
  const conn = await connect();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      await serve(conn, line.split('\t'));
    } catch (error) {
      if (!error.errno) throw error;
      say('error', error.errno, error.sqlState, (error.sqlMessage ?? error.message).split('\n')[0]);
    }
    say('end');
  }
  await conn.end();
}

main();
