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
  end
end
