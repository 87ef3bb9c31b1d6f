// Calls every procedure through the package that the first argument names.
'use strict';

const [driver, user, friend] = process.argv.slice(2);
const [password, newPassword, secret, otherKey] = ['pass word', 'new pass word', '0f'.repeat(32), process.env.LATCHKEY_KEY];
const options = {host: '127.0.0.1', port: 3307, user: 'app', password: process.env.LATCHKEY_PASSWORD, database: 'journal'};

async function mysql2() {
  const conn = await require('mysql2/promise').createConnection(options);
  // snippet: docs/keys.md: (await conn.execute(sql, values))[0];
  return [conn, call];
}

async function mariadb() {
  const conn = await require('mariadb').createConnection({...options, logParam: false});
  // snippet: docs/keys.md: => conn.execute(sql, values);
  return [conn, call];
}

async function main() {
  const [conn, call] = await (driver === 'mysql2' ? mysql2() : mariadb());
  // snippet: docs/keys.md: const [enrolled] = await call(
  console.log([
    status.owner === user && 'status', unlocked.key_id === enrolled.key_id && 'unlocked', changed.recovery_code === '' && 'changed',
    recovered.recovery_code !== enrolled.recovery_code && 'recovered', renewed.recovery_code !== recovered.recovery_code && 'renewed',
    rotated.old_key_id === enrolled.key_id && 'rotated', forgotten.owner === user && 'forgotten',
    (await call('CALL latchkey.status()'))[0].keys + ' keys',
  ].join('\n'));
  await conn.end();
}

main();
