<?php

use Illuminate\Database\Migrations\Migration;
use Illuminate\Database\Schema\Blueprint;
use Illuminate\Support\Facades\Schema;

return new class extends Migration {
    public function up()
    {
        Schema::table('entries', function (Blueprint $table) {
            $table->string('mood', 20)->default('calm')->after('amount');
            $table->dropIndex(['title']);
            $table->index('happened_on');
        });
        Schema::table('entries', fn (Blueprint $table) => $table->renameColumn('body', 'content'));
        Schema::table('entries', fn (Blueprint $table) => $table->string('title', 255)->change());
    }

    public function down()
    {
        Schema::table('entries', fn (Blueprint $table) => $table->string('title', 200)->change());
        Schema::table('entries', fn (Blueprint $table) => $table->renameColumn('content', 'body'));
        Schema::table('entries', function (Blueprint $table) {
            $table->dropIndex(['happened_on']);
            $table->dropColumn('mood');
            $table->index('title');
        });
    }
};
