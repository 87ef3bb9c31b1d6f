// The README's connection attribute, through the package that the first argument names.
'use strict';

const [driver, user] = process.argv.slice(2);
const mysql2 = require(driver === 'mysql2' ? 'mysql2/promise' : 'mariadb');
const [password, key] = [process.env.LATCHKEY_PASSWORD, process.env.LATCHKEY_KEY];

async function main() {
  // snippet: README.md: const conn = await mysql2.createConnection(
  await conn.execute('INSERT INTO entries (user_id, title, body) VALUES (?, ?, ?)', [user, 'kept', 'text']);
  const answer = await conn.execute('SELECT title, body FROM entries WHERE user_id = ?', [user]);
  const [row] = driver === 'mysql2' ? answer[0] : answer;
  console.log(row.title, row.body);
  await conn.end();
}

main();
