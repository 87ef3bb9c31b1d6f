# migrate.rb VERSION [rows|fresh]: what `rails db:migrate VERSION=...` and `rails db:schema:dump` do.

require 'active_record'
require 'json'

ActiveRecord::Base.establish_connection(
  adapter: 'mysql2', encoding: 'utf8mb4', collation: 'utf8mb4_unicode_ci',
  host: ENV.fetch('LATCHKEY_HOST'), port: ENV.fetch('LATCHKEY_PORT').to_i, username: ENV.fetch('LATCHKEY_USER'),
  password: ENV.fetch('LATCHKEY_PASSWORD'), database: ENV.fetch('LATCHKEY_DATABASE'),
  prepared_statements: true
)
ActiveRecord::Migration.verbose = false
connection = ActiveRecord::Base.connection
unless ENV.fetch('LATCHKEY_TOKEN').empty?
  connection.execute("SET @latchkey = #{connection.quote(ENV.fetch('LATCHKEY_TOKEN'))}")
end

class User < ActiveRecord::Base
end

class Entry < ActiveRecord::Base
  belongs_to :user
  # MariaDB shows JSON as the text that it is.
  attribute :details, :json
end

class Kind < ActiveRecord::Base
end

def migrate(version)
  context = ActiveRecord::MigrationContext.new(File.join(__dir__, 'migrations'), ActiveRecord::SchemaMigration)
  ran = context.migrate(version)
  puts "migrated #{Array(ran).map(&:name).join(' ')}, pending #{context.migrations.count { |m| m.version > context.current_version }}"
end

def show(connection)
  ActiveRecord::SchemaDumper.dump(connection, $stdout)
  connection.tables.sort.each do |table|
    puts table, "  options #{connection.table_options(table)} comment #{connection.table_comment(table).inspect}"
    connection.columns(table).each do |c|
      puts "  #{[c.name, c.sql_type, c.type, c.limit, c.precision, c.scale, c.null, c.default, c.default_function, c.collation, c.comment].inspect}"
    end
    connection.indexes(table).each { |i| puts "  #{[i.name, i.unique, i.columns, i.lengths, i.type, i.using].inspect}" }
    connection.foreign_keys(table).each { |k| puts "  #{[k.name, k.column, k.to_table].inspect}" }
    connection.check_constraints(table).each { |k| puts "  #{[k.name, k.expression].inspect}" }
  end
end

def show_entries
  Entry.order(:id).each { |e| puts "entry #{e.attributes.except('created_at', 'updated_at').transform_values { |v| v.is_a?(BigDecimal) ? v.to_s('F') : v }.inspect}" }
end

def first_rows
  user = User.create!(id: 1, email: 'ann@example.org')
  Entry.create!(user: user, title: 'First day', body: "It rained.\nStill.", amount: '12.50', happened_on: '2024-02-29', details: { mood: ['calm', 1, nil] })
  Entry.create!(user: user, title: "Zweiter Tag \u2013 \u00fc\u00df")
  Entry.create!(user: user, title: "\u{1f600} third", amount: -3)
  show_entries
end

def second_rows
  show_entries
  entry = Entry.find_by!(title: 'first DAY')
  entry.update!(amount: entry.amount + 1, mood: 'glad', content: '')
  begin
    Entry.create!(user_id: 1, title: 'FIRST day')
  rescue ActiveRecord::RecordNotUnique => e
    puts "duplicate #{e.cause.error_number}"
  end
  Entry.create!(user_id: 1, title: 'later', happened_on: Date.new(2025, 1, 2))
  puts "deleted #{Entry.where(title: ["\u{1f600} third", 'unknown']).delete_all}"
  puts "found #{Entry.where(title: 'later').pluck(:title, :happened_on, :mood).inspect}"
  show_entries
  kinds
end

def kinds
  moment = Time.utc(2024, 2, 29, 23, 59, 59, 123_456)
  Kind.create!
  kind = Kind.create!(a_boolean: true, an_integer: -7, a_small: 65_535, a_bigint: -2**63, a_float: 0.1, a_double: 0.1, a_time: moment, a_datetime: moment,
                      a_timestamp: moment, a_binary: "\0\xff'".b, a_uuid: 'b', a_choice: "it's", a_set: 'a,b', a_year: 1999, a_char: 'x ', a_text: "\u00e9" * 70_000)
  kind.update!(a_double: 1e300, a_text: 'short')
  [{ an_integer: 1000 }, { a_uuid: 'b' }, { a_datetime: moment }, { a_choice: 'blue' }, { a_char: 'too long' }].each do |fields|
    Kind.create!(fields)
  rescue ActiveRecord::StatementInvalid => e
    puts "#{fields.keys.inspect} #{e.cause.error_number}"
  end
  puts "found #{Kind.where(a_uuid: 'b', a_datetime: moment).count}, #{Kind.where(a_uuid: 'B').count}"
  Kind.order(:id).each { |k| puts "kind #{k.attributes.inspect}" }
end

# load_schema does what `rails db:schema:load` does with the dump.
def load_schema(connection)
  dump = StringIO.new
  ActiveRecord::SchemaDumper.dump(connection, dump)
  eval(dump.string)
end

version = ARGV[0].to_i
migrate(version)
load_schema(connection) if ARGV.include?('fresh')
show(connection)
if ARGV.include?('rows')
  puts '## rows'
  version == 1 ? first_rows : second_rows
end
