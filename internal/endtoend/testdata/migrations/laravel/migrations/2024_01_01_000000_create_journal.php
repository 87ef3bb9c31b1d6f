<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration {
    public function up()
    {
        Schema::create('users', function (Blueprint $table) {
            $table->id();
            $table->string('email', 100)->unique();
        });
        Schema::create('entries', function (Blueprint $table) {
            $table->id();
            $table->foreignId('user_id')->constrained();
            $table->string('title', 200)->index();
            $table->text('body')->nullable();
            $table->decimal('amount', 12, 2)->default(0)->comment('what it cost, in the user\'s currency');
            $table->date('happened_on')->nullable();
            $table->json('details')->nullable();
            $table->timestamps();
            $table->unique(['user_id', 'title']);
        });
        Schema::create('kinds', function (Blueprint $table) {
            $table->id();
            $table->boolean('a_boolean')->default(false);
            $table->integer('an_integer')->nullable()->default(7);
            $table->unsignedSmallInteger('a_small')->nullable()->index();
            $table->bigInteger('a_bigint')->nullable();
            $table->float('a_float')->nullable();
            $table->double('a_double')->nullable();
            $table->time('a_time', 3)->nullable();
            $table->dateTime('a_datetime', 6)->nullable()->unique();
            $table->timestamp('a_timestamp')->nullable();
            $table->binary('a_binary')->nullable();
            $table->uuid('a_uuid')->nullable()->unique();
            $table->ipAddress('an_address')->nullable();
            $table->string('a_slug', 30)->default('')->charset('ascii')->collation('ascii_bin');
            $table->enum('a_choice', ['red', 'dark green'])->default('red');
            $table->set('a_set', ['a', 'b'])->nullable();
            $table->year('a_year')->nullable();
            $table->char('a_char', 5)->default('');
            $table->mediumText('a_text')->nullable();
        });
    }
};
