// Serves requests from standard input, a JSON object a line, each on a connection from a pool of one.
// Modes: mysql2 and mariadb leave the connection as it is, mysql2-changeuser and mariadb-reset reset it when it goes back.
'use strict';

const readline = require('node:readline');

const [driver, cleaning] = process.argv[2].split('-');

function open() {
  const env = process.env;
  const options = {
    host: env.LATCHKEY_HOST,
    port: Number(env.LATCHKEY_PORT),
    user: env.LATCHKEY_USER,
    password: env.LATCHKEY_PASSWORD,
    database: env.LATCHKEY_DATABASE,
    connectionLimit: 1,
  };
  if (driver === 'mysql2') return require('mysql2/promise').createPool(options);
  return require('mariadb').createPool({ ...options, resetAfterUse: cleaning === 'reset' });
}

async function rows(promise) {
  const answer = await promise;
  const result = driver === 'mysql2' ? answer[0] : answer;
  if (!Array.isArray(result)) return `affected=${result.affectedRows}`;
  return result.map((row) => Object.values(row).join(' ')).join('; ');
}

async function serve(pool, { push, sql, values, forget }) {
  const conn = await pool.getConnection();
  const answer = { connection: await rows(conn.query('SELECT CONNECTION_ID()')) };
  try {
    if (push === 'none') await conn.query('SET @latchkey = NULL');
    else if (push) await conn.query('SET @latchkey = ?', [process.env['LATCHKEY_KEY_' + push.toUpperCase()] ?? push]);
    answer.result = await rows(conn.execute(sql, values));
  } catch (error) {
    if (!error.errno) throw error;
    answer.result = `error=${error.errno}`;
  } finally {
    if (forget) await conn.query('SET @latchkey = NULL');
    if (cleaning === 'changeuser') await conn.changeUser({});
    await conn.release();
  }
  return answer;
}

async function main() {
  const pool = open();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await serve(pool, JSON.parse(line))) + '\n');
  }
  await pool.end();
}

main();
