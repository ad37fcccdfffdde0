package main

import (
	"encoding/json"
	"testing"
)

func TestReserveKeys(t *testing.T) {
	a, b := reserveKeys("iqn.a", "disk", 1), reserveKeys("iqn.a", "disk", 2)
	if a>>40 != b>>40 || a>>24 == b>>24 || a&(1<<24-1) != 0 {
		t.Errorf("%#x and %#x", a, b)
	}
	if c := reserveKeys("iqn.a", "disk2", 1); c>>40 == a>>40 {
		t.Errorf("two devices have keys that begin with %#x", c>>40)
	}
}

// TestKeyInState: a key that needs all 64 bits stays what it is, and none is not written.
func TestKeyInState(t *testing.T) {
	const key = 0xfedcba9876543211
	data, err := json.Marshal([]SlotState{{Key: key}, {}})
	if err != nil {
		t.Fatal(err)
	}
	var got []SlotState
	if err := json.Unmarshal(data, &got); err != nil || got[0].Key != key || got[1].Key != 0 {
		t.Errorf("%v from %s: %v", got, data, err)
	}
	if err := json.Unmarshal([]byte(`[{"key":"mine"}]`), &got); err == nil {
		t.Error("a word is a key")
	}
}
