package keystore

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestSlotsOpenAsTheVectors: key slots and a record that a program of its own made are read, and written the same.
func TestSlotsOpenAsTheVectors(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("testdata", "slots.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Fleet hexBytes
		Realm string
		Slots []struct {
			Name, Owner, Password, Code, Token string
			Given                              hexBytes
			Kind                               SlotKind
			SlotID                             hexBytes `json:"slot_id"`
			SlotSecret                         hexBytes `json:"slot_secret"`
			Payload, Slot                      hexBytes
		}
		Record struct {
			Owner       string
			Generation  uint64
			Record, MAC hexBytes
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	fleet, err := NewFleetSecret(bytes.NewReader(v.Fleet))
	if err != nil {
		t.Fatal(err)
	}
	store := newMemStore()
	store.owners[v.Record.Owner] = memOwner{generation: v.Record.Generation, record: v.Record.Record, mac: v.Record.MAC}
	c := newClock()
	vault := testVault(t, store, c, func(c *VaultConfig) { c.Fleet = fleet })
	for _, s := range v.Slots {
		store.slots[SlotID(s.SlotID)] = memSlot{s.Owner, s.Slot}
		slot, err := parseSlot(s.Slot, v.Realm, s.Owner)
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		if slot.kind != s.Kind || !bytes.Equal(slot.encode(v.Realm, s.Owner), s.Slot) {
			t.Errorf("%s: the slot is not written as it was read", s.Name)
		}
		keys, err := slot.open(v.Realm, s.Owner, (*slotSecret)(s.SlotSecret))
		if err != nil {
			t.Fatalf("%s: %v", s.Name, err)
		}
		equalSecret(t, s.Name+": user key", keys.encode(), s.Payload)
	}
	record, err := parseOwnerRecord(v.Record.Record, v.Realm, v.Record.Owner)
	if err != nil || !bytes.Equal(record.encode(), v.Record.Record) {
		t.Errorf("the record is not written as it was read: %v", err)
	}
	// All of it, from what the owner types.
	code := ""
	for _, s := range v.Slots {
		switch s.Kind {
		case SlotToken:
			k, err := vault.OpenToken(ctx, []byte(s.Token))
			if err != nil {
				t.Fatalf("token: %v", err)
			}
			if len(k.IDs()) != 2 {
				t.Errorf("token: %d cell roots, want 2", len(k.IDs()))
			}
			k.Release()
		case SlotPassword:
			mustOpen(t)(vault.Unlock(ctx, client(s.Owner), []byte(s.Password)))
		case SlotSecret:
			mustOpen(t)(vault.UnlockSecret(ctx, client(s.Owner), s.Given))
		case SlotRecovery:
			code = s.Code
		}
	}
	mustOpen(t)(vault.Recover(ctx, client(v.Record.Owner), []byte(code), []byte("new"))) // which revokes the rest
	mustOpen(t)(vault.Unlock(ctx, client(v.Record.Owner), []byte("new")))
}
