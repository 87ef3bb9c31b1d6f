// The program migrates the journal with GORM's AutoMigrate to the models of a version (migrate VERSION [rows]) and prints
// what GORM sees of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// User is a row of users.
type User struct {
	ID    uint64
	Email string `gorm:"size:100;not null;uniqueIndex"`
}

// Times are the columns that GORM sets by itself.
type Times struct {
	CreatedAt, UpdatedAt time.Time
}

// Entry1 is a row of entries in version 1.
type Entry1 struct {
	ID         uint64
	UserID     uint64 `gorm:"not null;uniqueIndex:entries_user_title,priority:1"`
	User       *User
	Title      string     `gorm:"size:200;not null;index:entries_title;uniqueIndex:entries_user_title,priority:2"`
	Body       *string    `gorm:"type:text"`
	Amount     float64    `gorm:"type:decimal(12,2);not null;default:0.00;comment:what it cost"`
	HappenedOn *time.Time `gorm:"type:date"`
	Details    *string    `gorm:"type:longtext"`
	Times
}

// TableName implements gorm's Tabler.
func (Entry1) TableName() string { return "entries" }

// Entry2 is a row of entries in version 2.
type Entry2 struct {
	ID         uint64
	UserID     uint64 `gorm:"not null;uniqueIndex:entries_user_title,priority:1"`
	User       *User
	Title      string     `gorm:"size:255;not null;uniqueIndex:entries_user_title,priority:2"`
	Content    *string    `gorm:"type:text"`
	Amount     float64    `gorm:"type:decimal(12,2);not null;default:0.00;comment:what it cost"`
	HappenedOn *time.Time `gorm:"type:date;index:entries_happened_on"`
	Details    *string    `gorm:"type:longtext"`
	Mood       string     `gorm:"size:20;not null;default:calm"`
	Times
}

// TableName implements gorm's Tabler.
func (Entry2) TableName() string { return "entries" }

func main() {
	if err := run(os.Args[1], len(os.Args) > 2); err != nil {
		log.Fatal(err)
	}
}

func run(version string, rows bool) error {
	db, err := open()
	if err != nil {
		return err
	}
	models := []any{&User{}, &Entry1{}}
	if version == "2" {
		models[1] = &Entry2{}
	}
	if err := migrate(db, version, models); err != nil {
		return err
	}
	if err := show(db, models); err != nil || !rows {
		return err
	}
	fmt.Println("## rows")
	if version == "1" {
		return firstRows(db)
	}
	return secondRows(db)
}

func open() (*gorm.DB, error) {
	config := driver.NewConfig()
	config.Net, config.Addr = "tcp", os.Getenv("LATCHKEY_HOST")+":"+os.Getenv("LATCHKEY_PORT")
	config.User, config.Passwd, config.DBName = os.Getenv("LATCHKEY_USER"), os.Getenv("LATCHKEY_PASSWORD"), os.Getenv("LATCHKEY_DATABASE")
	config.ParseTime = true
	config.Params = map[string]string{"charset": "utf8mb4"}
	db, err := gorm.Open(mysql.New(mysql.Config{DSNConfig: config}), &gorm.Config{Logger: sent{logger.Discard}, TranslateError: true})
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	// One connection: it has the key.
	pool.SetMaxOpenConns(1)
	if token := os.Getenv("LATCHKEY_TOKEN"); token != "" {
		_, err = pool.Exec("SET @latchkey = ?", token)
	}
	return db, err
}

// sent prints the definitions that GORM sends.
type sent struct{ logger.Interface }

// Trace implements logger.Interface.
func (sent) Trace(_ context.Context, _ time.Time, statement func() (string, int64), _ error) {
	text, _ := statement()
	switch word, _, _ := strings.Cut(text, " "); word {
	case "CREATE", "ALTER", "DROP":
		fmt.Println("sent", text)
	}
}

// LogMode implements logger.Interface.
func (s sent) LogMode(logger.LogLevel) logger.Interface { return s }

func migrate(db *gorm.DB, version string, models []any) error {
	m := db.Migrator()
	if version == "2" && m.HasColumn(models[1], "body") {
		if err := errors.Join(m.RenameColumn(models[1], "body", "content"), m.DropIndex(models[1], "entries_title")); err != nil {
			return err
		}
	}
	return db.AutoMigrate(models...)
}

func show(db *gorm.DB, models []any) error {
	for _, model := range models {
		columns, err := db.Migrator().ColumnTypes(model)
		if err != nil {
			return err
		}
		table, err := db.Migrator().TableType(model)
		if err != nil {
			return err
		}
		comment, _ := table.Comment()
		fmt.Printf("%s %s %q\n", table.Name(), table.Type(), comment)
		for _, c := range columns {
			full, _ := c.ColumnType()
			length, hasLength := c.Length()
			precision, scale, hasSize := c.DecimalSize()
			nullable, _ := c.Nullable()
			unique, _ := c.Unique()
			primary, _ := c.PrimaryKey()
			auto, _ := c.AutoIncrement()
			text, _ := c.Comment()
			value, hasDefault := c.DefaultValue()
			fmt.Println(" ", c.Name(), c.DatabaseTypeName(), full, c.ScanType(), length, hasLength, precision, scale, hasSize, nullable, unique, primary, auto)
			fmt.Printf("    default %q %v comment %q\n", value, hasDefault, text)
		}
		indexes, err := db.Migrator().GetIndexes(model)
		if err != nil {
			return err
		}
		for _, i := range indexes {
			unique, _ := i.Unique()
			primary, _ := i.PrimaryKey()
			fmt.Println("  index", i.Name(), i.Columns(), unique, primary, i.Option())
		}
	}
	return nil
}

func ptr[T any](v T) *T { return &v }

func value[T any](p *T) any {
	if p == nil {
		return nil
	}
	return *p
}

func firstRows(db *gorm.DB) error {
	day := time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC)
	err := errors.Join(
		db.Create(&User{ID: 1, Email: "ann@example.org"}).Error,
		db.Create(&Entry1{UserID: 1, Title: "First day", Body: ptr("It rained.\nStill."), Amount: 12.5, HappenedOn: &day, Details: ptr(`{"mood": ["calm", 1, null]}`)}).Error,
		db.Create(&[]Entry1{{UserID: 1, Title: "Zweiter Tag \u2013 \u00fc\u00df"}, {UserID: 1, Title: "\U0001f600 third", Amount: -3}}).Error)
	var entries []Entry1
	if err := errors.Join(err, db.Order("id").Find(&entries).Error); err != nil {
		return err
	}
	for _, e := range entries {
		fmt.Printf("entry %d %d %q %q %v %v %q\n", e.ID, e.UserID, e.Title, value(e.Body), e.Amount, value(e.HappenedOn), value(e.Details))
	}
	return nil
}

func showEntries(db *gorm.DB) error {
	var entries []Entry2
	err := db.Preload("User").Order("id").Find(&entries).Error
	for _, e := range entries {
		fmt.Printf("entry %d %s %q %q %v %v %q %s\n", e.ID, e.User.Email, e.Title, value(e.Content), e.Amount, value(e.HappenedOn), value(e.Details), e.Mood)
	}
	return err
}

func secondRows(db *gorm.DB) error {
	err := showEntries(db)
	var entry Entry2
	err = errors.Join(err, db.Where("title = ?", "first DAY").First(&entry).Error)
	entry.Amount++
	entry.Mood, entry.Content = "glad", ptr("")
	if err := errors.Join(err, db.Save(&entry).Error); err != nil {
		return err
	}
	err = db.Create(&Entry2{UserID: 1, Title: "FIRST day"}).Error
	fmt.Println("duplicate", errors.Is(err, gorm.ErrDuplicatedKey))
	day := time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)
	if err := db.Create(&Entry2{UserID: 1, Title: "later", HappenedOn: &day}).Error; err != nil {
		return err
	}
	deleted := db.Where("title IN ?", []string{"\U0001f600 third", "unknown"}).Delete(&Entry2{})
	fmt.Println("deleted", deleted.RowsAffected)
	var found []Entry2
	err = errors.Join(deleted.Error, db.Select("title", "happened_on", "mood", "amount").Where(&Entry2{Title: "later"}).Find(&found).Error)
	for _, e := range found {
		fmt.Println("found", e.Title, value(e.HappenedOn), e.Mood, e.Amount)
	}
	return errors.Join(err, showEntries(db))
}
