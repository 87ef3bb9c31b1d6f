<?php
// migrate.php VERSION [rows|fresh]: Laravel's migrator up to a version, and what its schema builder and Doctrine see.

require 'Illuminate/Support/autoload.php';
require 'Illuminate/Database/autoload.php';
require 'Illuminate/Events/autoload.php';
require 'Illuminate/Filesystem/autoload.php';
require 'Doctrine/DBAL/autoload.php';

use Doctrine\DBAL\Schema\Table;
use Illuminate\Container\Container;
use Illuminate\Database\Capsule\Manager as Capsule;
use Illuminate\Database\Eloquent\Model;
use Illuminate\Database\Migrations\DatabaseMigrationRepository;
use Illuminate\Database\Migrations\Migrator;
use Illuminate\Database\QueryException;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Filesystem\Filesystem;
use Illuminate\Support\Facades\Facade;

// Debian's Laravel 8 says what newer versions of PHP find old-fashioned.
error_reporting(E_ALL & ~E_DEPRECATED);

$app = new Container();
Container::setInstance($app);
Facade::setFacadeApplication($app);
$capsule = new Capsule($app);
$capsule->addConnection([
    'driver' => 'mysql',
    'host' => getenv('LATCHKEY_HOST'),
    'port' => getenv('LATCHKEY_PORT'),
    'username' => getenv('LATCHKEY_USER'),
    'password' => getenv('LATCHKEY_PASSWORD'),
    'database' => getenv('LATCHKEY_DATABASE'),
    'charset' => 'utf8mb4',
    'collation' => 'utf8mb4_unicode_ci',
    'prefix' => '',
    'strict' => true,
]);
$capsule->setAsGlobal();
$capsule->bootEloquent();
$app->instance('db', $capsule->getDatabaseManager());
$app->bind('db.schema', fn () => $capsule->schema());

$connection = $capsule->getConnection();
if (getenv('LATCHKEY_TOKEN') !== '') {
    $connection->statement('SET @latchkey = ?', [getenv('LATCHKEY_TOKEN')]);
}
$connection->enableQueryLog();

class User extends Model
{
    public $timestamps = false;
    protected $guarded = [];
}

class Kind extends Model
{
    public $timestamps = false;
    protected $guarded = [];
}

class Entry extends Model
{
    protected $guarded = [];
    protected $casts = ['details' => 'array', 'happened_on' => 'date:Y-m-d'];
    protected $hidden = ['created_at', 'updated_at'];
}

function migrate(Capsule $capsule, int $version): void
{
    $repository = new DatabaseMigrationRepository($capsule->getDatabaseManager(), 'migrations');
    if (!$repository->repositoryExists()) {
        $repository->createRepository();
    }
    $migrator = new Migrator($repository, $capsule->getDatabaseManager(), new Filesystem());
    $files = glob(__DIR__ . '/migrations/*.php');
    $ran = $migrator->run(array_slice($files, 0, $version));
    $back = count($repository->getRan()) > $version ? $migrator->rollback($files) : [];
    echo 'migrated ', implode(' ', array_map('basename', $ran)), ', rolled back ', implode(' ', array_map('basename', $back)), "\n";
}

// changeAgain asks for the columns as they already are.
function changeAgain(Capsule $capsule, int $version): void
{
    $capsule->getConnection()->flushQueryLog();
    $capsule->schema()->table('entries', function (Blueprint $table) use ($version) {
        $table->string('title', $version == 1 ? 200 : 255)->change();
        $table->text($version == 1 ? 'body' : 'content')->nullable()->change();
        $table->decimal('amount', 12, 2)->default(0)->change();
        $table->date('happened_on')->nullable()->change();
        if ($version == 2) {
            $table->string('mood', 20)->default('calm')->change();
        }
    });
    foreach ($capsule->getConnection()->getQueryLog() as $entry) {
        if (str_starts_with($entry['query'], 'ALTER')) {
            echo 'changed again: ', $entry['query'], "\n";
        }
    }
}

// compare holds the table against its declaration in Doctrine's terms, as its schema tool does.
function compare(Capsule $capsule, int $version): void
{
    $table = new Table('entries', [], [], [], [], ['charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci']);
    $table->addColumn('id', 'bigint', ['unsigned' => true, 'autoincrement' => true]);
    $table->addColumn('user_id', 'bigint', ['unsigned' => true]);
    $table->addColumn('title', 'string', ['length' => $version == 1 ? 200 : 255]);
    $table->addColumn($version == 1 ? 'body' : 'content', 'text', ['notnull' => false, 'length' => 65535]);
    $table->addColumn('amount', 'decimal', ['precision' => 12, 'scale' => 2, 'default' => '0.00', 'comment' => 'what it cost, in the user\'s currency']);
    $table->addColumn('happened_on', 'date', ['notnull' => false]);
    $table->addColumn('details', 'text', ['notnull' => false, 'platformOptions' => ['collation' => 'utf8mb4_bin']]);
    $table->addColumn('created_at', 'datetime', ['notnull' => false]);
    $table->addColumn('updated_at', 'datetime', ['notnull' => false]);
    $table->setPrimaryKey(['id']);
    $table->addUniqueIndex(['user_id', 'title'], 'entries_user_id_title_unique');
    if ($version == 1) {
        $table->addIndex(['title'], 'entries_title_index');
    } else {
        $table->addColumn('mood', 'string', ['length' => 20, 'default' => 'calm']);
        $table->addIndex(['happened_on'], 'entries_happened_on_index');
    }
    $table->addForeignKeyConstraint('users', ['user_id'], ['id'], [], 'entries_user_id_foreign');
    $manager = $capsule->getConnection()->getDoctrineSchemaManager();
    $difference = $manager->createComparator()->compareTables($manager->listTableDetails('entries'), $table);
    $platform = $capsule->getConnection()->getDoctrineConnection()->getDatabasePlatform();
    if (!$difference->isEmpty()) {
        throw new Exception('Doctrine would change: ' . implode('; ', $platform->getAlterTableSQL($difference)));
    }
}

function show(Capsule $capsule): void
{
    $schema = $capsule->schema();
    $doctrine = $capsule->getConnection()->getDoctrineSchemaManager();
    foreach ($doctrine->listTableNames() as $name) {
        echo $name, ': ', implode(' ', $schema->getColumnListing($name)), "\n";
        $table = $doctrine->listTableDetails($name);
        foreach ($table->getColumns() as $column) {
            $fields = $column->toArray();
            $fields['type'] = $fields['type']->getName();
            echo '  ', json_encode($fields), "\n";
        }
        // Doctrine asks for the indexes in no certain order.
        $indexes = $table->getIndexes();
        ksort($indexes);
        foreach ($indexes as $index) {
            echo '  index ', $index->getName(), ' ', json_encode([$index->getColumns(), $index->isUnique(), $index->isPrimary(), $index->getFlags(), $index->getOptions()]), "\n";
        }
        foreach ($table->getForeignKeys() as $key) {
            echo '  foreign key ', $key->getName(), ' ', json_encode([$key->getLocalColumns(), $key->getForeignTableName(), $key->getForeignColumns(), $key->getOptions()]), "\n";
        }
        echo '  options ', json_encode($table->getOptions()), "\n";
    }
}

function showEntries(): void
{
    foreach (Entry::orderBy('id')->get() as $entry) {
        echo 'entry ', json_encode($entry->toArray(), JSON_UNESCAPED_UNICODE), "\n";
    }
}

function firstRows(): void
{
    User::create(['id' => 1, 'email' => 'ann@example.org']);
    Entry::create(['user_id' => 1, 'title' => 'First day', 'body' => "It rained.\nStill.", 'amount' => '12.50', 'happened_on' => '2024-02-29', 'details' => ['mood' => ['calm', 1, null]]]);
    Entry::create(['user_id' => 1, 'title' => "Zweiter Tag \u{2013} \u{fc}\u{df}"]);
    Entry::create(['user_id' => 1, 'title' => "\u{1f600} third", 'amount' => -3]);
    showEntries();
}

function secondRows(): void
{
    showEntries();
    $entry = Entry::where('title', 'first DAY')->firstOrFail();
    $entry->update(['amount' => '13.50', 'mood' => 'glad', 'content' => '']);
    try {
        Entry::create(['user_id' => 1, 'title' => 'FIRST day']);
    } catch (QueryException $e) {
        echo 'duplicate ', $e->errorInfo[1], "\n";
    }
    Entry::updateOrCreate(['user_id' => 1, 'title' => 'later'], ['happened_on' => '2025-01-02']);
    echo 'deleted ', Entry::whereIn('title', ["\u{1f600} third", 'unknown'])->delete(), "\n";
    echo 'found ', json_encode(Entry::where('title', 'later')->get(['title', 'happened_on', 'mood', 'amount'])), "\n";
    showEntries();
    kinds();
}

function kinds(): void
{
    $moment = '2024-02-29 23:59:59.123456';
    Kind::create([]);
    $kind = Kind::create([
        'a_boolean' => true, 'an_integer' => -7, 'a_small' => 65535, 'a_bigint' => PHP_INT_MIN, 'a_float' => 0.5, 'a_double' => 0.1, 'a_time' => '-01:02:03.004',
        'a_datetime' => $moment, 'a_timestamp' => '2024-02-29 23:59:59', 'a_binary' => "\0\xff'", 'a_uuid' => 'b', 'an_address' => '::1', 'a_slug' => 'a-slug', 'a_choice' => 'dark green',
        'a_set' => 'b,a', 'a_year' => 1999, 'a_char' => 'x ', 'a_text' => str_repeat("\u{e9}", 70000),
    ]);
    $kind->update(['a_double' => 1e300, 'a_text' => 'short']);
    foreach ([['a_small' => -1], ['a_uuid' => 'B'], ['a_datetime' => $moment], ['a_choice' => 'blue'], ['a_char' => 'too long'], ['a_slug' => "\u{e9}"]] as $fields) {
        try {
            Kind::create($fields);
        } catch (QueryException $e) {
            echo key($fields), ' ', $e->errorInfo[1], "\n";
        }
    }
    echo 'found ', Kind::where('a_uuid', 'B')->where('a_datetime', $moment)->count(), "\n";
    foreach (Kind::orderBy('id')->get() as $kind) {
        echo 'kind ', json_encode(['a_binary' => bin2hex($kind->a_binary ?? '')] + $kind->getAttributes()), "\n";
    }
}

$version = (int) $argv[1];
if (in_array('fresh', $argv)) {
    $capsule->schema()->dropAllTables();
}
migrate($capsule, $version);
changeAgain($capsule, $version);
compare($capsule, $version);
show($capsule);
if (in_array('rows', $argv)) {
    echo "## rows\n";
    $version == 1 ? firstRows() : secondRows();
}
