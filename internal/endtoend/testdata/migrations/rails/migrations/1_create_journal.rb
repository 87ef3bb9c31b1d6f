class CreateJournal < ActiveRecord::Migration[6.1]
  def change
    create_table :users do |t|
      t.string :email, limit: 100, null: false, index: { unique: true }
    end
    create_table :entries do |t|
      t.references :user, null: false, foreign_key: true
      t.string :title, limit: 200, null: false, index: true
      t.text :body
      t.decimal :amount, precision: 12, scale: 2, default: 0, null: false, comment: "what it cost, in the user's currency"
      t.date :happened_on
      t.json :details
      t.timestamps
      t.index %i[user_id title], unique: true
    end
    create_table :kinds do |t|
      t.boolean :a_boolean, null: false, default: false
      t.integer :an_integer, default: 7
      t.integer :a_small, limit: 2, unsigned: true, index: true
      t.bigint :a_bigint
      t.float :a_float
      t.float :a_double, limit: 53
      t.time :a_time
      t.datetime :a_datetime, precision: 6, index: { unique: true }
      t.timestamp :a_timestamp
      t.binary :a_binary, limit: 200
      t.string :a_uuid, limit: 36, collation: 'utf8mb4_bin', index: { unique: true }
      t.column :a_choice, "enum('red','it''s')", default: 'red', null: false
      t.column :a_set, "set('a','b')"
      t.column :a_year, 'year(4)'
      t.column :a_char, 'char(5)', default: ''
      t.text :a_text, size: :medium
      t.check_constraint 'an_integer < 1000', name: 'kinds_small'
    end
  end
end
