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
    }
};
