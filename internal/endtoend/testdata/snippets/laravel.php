<?php
// What an application of Laravel has: a connection and the facade DB.

require '/usr/share/php/Illuminate/Database/autoload.php';

use Illuminate\Container\Container;
use Illuminate\Database\Capsule\Manager;
use Illuminate\Support\Facades\Facade;

$container = new Container();
$manager = new Manager($container);
$manager->addConnection(['driver' => 'mysql', 'host' => '127.0.0.1', 'port' => 3307, 'database' => 'journal', 'username' => 'app',
    'password' => getenv('LATCHKEY_PASSWORD'), 'charset' => 'utf8mb4', 'collation' => 'utf8mb4_unicode_ci']);
$container->instance('db', $manager->getDatabaseManager());
Facade::setFacadeApplication($container);
class_alias(Illuminate\Support\Facades\DB::class, 'DB');
DB::enableQueryLog();
