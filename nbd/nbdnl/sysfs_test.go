package nbdnl

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParsePath(t *testing.T) {
	for path, want := range map[string]int{"/dev/nbd0": 0, "/dev/nbd15": 15, "/dev/nbd1048575": maxIndex} {
		if got, err := ParsePath(path); err != nil || got != want {
			t.Errorf("%s: %d, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "nbd0", "/dev/nbd", "/dev/nbd-1", "/dev/nbd00", "/dev/nbd0p1",
		"/dev/nbd+1", "/dev/sda", "/dev/nbd1048576", "/dev/nbd0 "} {
		if got, err := ParsePath(path); err == nil {
			t.Errorf("%q: %d, want an error", path, got)
		}
	}
}

// files makes the files of a machine. A value that begins with an arrow is a
// symbolic link.
func files(t *testing.T, tree map[string]string) devices {
	t.Helper()
	root := t.TempDir()
	for path, content := range tree {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, link := strings.CutPrefix(content, "->"); link {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), 0o666)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return devices{filepath.Join(root, "sys"), filepath.Join(root, "proc"), "/dev"}
}

func TestSysfs(t *testing.T) {
	d := files(t, map[string]string{
		"sys/block/nbd0/size":             "0\n",
		"sys/block/nbd3/pid":              "77\n",
		"sys/block/nbd3/size":             "2048\n",
		"sys/block/nbd3/backend":          "naa.3\n",
		"sys/block/nbd3/queue/io_timeout": "30000\n",
		"sys/block/nbd3/mq/0/cpu_list":    "0\n",
		"sys/block/nbd3/mq/1/cpu_list":    "1\n",
		"sys/block/nbd4/backend":          "naa.4\n", // left over from a connection that ended
		"sys/block/nbd5/pid":              "78\n",
	})
	if d.connected(0) || !d.connected(3) || d.connected(4) || d.connected(99) {
		t.Error("connected is wrong")
	}
	if n, err := d.size(3); err != nil || n != 1<<20 {
		t.Errorf("size %d, %v", n, err)
	}
	if n, err := d.sockets(3); err != nil || n != 2 {
		t.Errorf("%d sockets, %v", n, err)
	}
	if n, err := d.sockets(5); err == nil {
		t.Errorf("%d sockets without a queue", n)
	}
	for index, want := range map[int]string{3: "naa.3", 5: ""} {
		if got, err := d.backend(index); err != nil || got != want {
			t.Errorf("backend of %d: %q, %v", index, got, err)
		}
	}
	for backend, want := range map[string]int{"naa.3": 3, "naa.4": -1, "naa.9": -1} {
		if got, err := d.find(backend); err != nil || got != want {
			t.Errorf("find %s: %d, %v", backend, got, err)
		}
	}
	if err := d.setIOTimeout(3, 5*time.Second); err != nil {
		t.Error(err)
	}
	if s, _ := d.read(3, "queue/io_timeout"); !strings.HasPrefix(s, "5000") {
		t.Errorf("io_timeout %q", s)
	}
	if d.setIOTimeout(0, time.Second) == nil {
		t.Error("no error without the file")
	}
}

func TestUsers(t *testing.T) {
	const mountinfo = "22 1 0:20 / /proc rw - proc proc rw\n" +
		"30 1 43:48 / /srv/data rw,noatime shared:1 - ext4 /dev/nbd3 rw\n" +
		"31 1 43:16 / /other rw - ext4 /dev/nbd1 rw\n" +
		"32 1 0:45 / /pool rw - btrfs /dev/nbd3p2 rw\n" +
		"33 1 254:4 / /on/volume rw - ext4 /dev/mapper/vg-lv rw\n" +
		"34 1 0:46 / /on/raid rw - btrfs /dev/mapper/over rw\n" +
		"malformed\n"
	d := files(t, map[string]string{
		"sys/block/nbd3/dev":                   "43:48\n",
		"sys/block/nbd3/holders/dm-4":          "",
		"sys/block/dm-4/dev":                   "254:4\n",
		"sys/block/dm-4/dm/name":               "vg-lv\n",
		"sys/block/md0/dev":                    "9:0\n",
		"sys/block/md0/holders/dm-7":           "",
		"sys/block/dm-7/dev":                   "254:7\n",
		"sys/block/dm-7/dm/name":               "over\n",
		"sys/block/dm-7/holders/md0":           "", // what cannot be does no harm
		"sys/block/nbd3/nbd3p1/dev":            "43:49\n",
		"sys/block/nbd3/nbd3p1/holders/md0":    "",
		"sys/block/nbd3/nbd3p2/dev":            "43:50\n",
		"sys/block/nbd7/dev":                   "43:112\n",
		"proc/swaps":                           "Filename Type\n/dev/nbd3p1 partition 1 0 -2\n",
		"proc/1/ns/mnt":                        "->mnt:[1]",
		"proc/1/mountinfo":                     mountinfo,
		"proc/1/fd/0":                          "->/dev/null",
		"proc/20/ns/mnt":                       "->mnt:[1]",
		"proc/20/mountinfo":                    mountinfo,
		"proc/20/comm":                         "dd\n",
		"proc/20/fd/3":                         "->/dev/nbd3",
		"proc/21/ns/mnt":                       "->mnt:[2]",
		"proc/21/mountinfo":                    "40 1 43:49 / /in/container rw - xfs /dev/x rw\n",
		"proc/21/fd/4":                         "->/dev/nbd33",
		"proc/22/fd/4":                         "->/dev/md0",
		"proc/22/comm":                         "dump\n",
		"sys/block/nbd3/nbd3p2/not-of-holders": "",
	})
	users, err := d.users(3)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range users {
		got = append(got, u.String())
	}
	want := []string{"mounted on /in/container", "mounted on /on/raid", "mounted on /on/volume",
		"mounted on /pool", "mounted on /srv/data", "open in dd (pid 20)", "open in dump (pid 22)",
		"part of dm-4", "part of dm-7", "part of md0", "used as swap space: /dev/nbd3p1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if users, err := d.users(7); err != nil || len(users) > 0 {
		t.Errorf("of an unused device: %v, %v", users, err)
	}
	if _, err := d.users(8); err == nil {
		t.Error("of a device that is not there: no error")
	}
}

func TestMounts(t *testing.T) {
	d := files(t, map[string]string{
		"sys/block/nbd3/dev": "43:48\n",
		"proc/self/mountinfo": "30 1 43:48 / /srv/with\\040blank\\134 rw - ext4 /dev/nbd3 rw\n" +
			"31 1 43:16 / /other rw - ext4 /dev/nbd1 rw\n",
		"proc/1/mountinfo": "30 1 43:48 / /elsewhere rw - ext4 /dev/nbd3 rw\n",
	})
	if got, err := d.mounts(3); err != nil || !reflect.DeepEqual(got, []string{`/srv/with blank\`}) {
		t.Errorf("%q, %v", got, err)
	}
	if got := UnescapeMount(`\04\999\`); got != `\04\999\` {
		t.Errorf("%q", got)
	}
}
