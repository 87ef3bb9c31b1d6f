class Second < ActiveRecord::Migration[6.1]
  def change
    add_column :entries, :mood, :string, limit: 20, null: false, default: 'calm'
    remove_index :entries, :title
    reversible do |direction|
      direction.up { change_column :entries, :title, :string, limit: 255, null: false }
      direction.down { change_column :entries, :title, :string, limit: 200, null: false }
    end
    rename_column :entries, :body, :content
    add_index :entries, :happened_on
    change_column_default :entries, :title, from: nil, to: 'untitled'
  end
end
