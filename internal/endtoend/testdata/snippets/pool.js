// The README's pool, through the package that the first argument names.
'use strict';

const [driver, user] = process.argv.slice(2);
const options = {host: '127.0.0.1', port: 3307, user: 'app', password: process.env.LATCHKEY_PASSWORD, database: 'journal', connectionLimit: 1};

// snippet: README.md: async function withKey(pool, key, work) {

async function main() {
  const pool = driver === 'mysql2' ? require('mysql2/promise').createPool(options) : require('mariadb').createPool({...options, logParam: false});
  const read = async (conn) => {
    const answer = await conn.execute('SELECT title, body FROM entries WHERE user_id = ?', [user]);
    const [row] = driver === 'mysql2' ? answer[0] : answer;
    return `${row.title} ${row.body}`;
  };
  const code = (error) => error.errno;
  await withKey(pool, process.env.LATCHKEY_KEY, (conn) => conn.execute('INSERT INTO entries (user_id, title, body) VALUES (?, ?, ?)', [user, 'kept', 'text']));
  console.log(await withKey(pool, process.env.LATCHKEY_KEY, read));
  console.log(await withKey(pool, undefined, read).catch(code), await withKey(pool, 'LK1-NONSENSE', read).catch(code),
    await withKey(pool, process.env.LATCHKEY_OTHER_KEY, read).catch(code));
  await pool.end();
}

main();
