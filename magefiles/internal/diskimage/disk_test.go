package diskimage

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sfdiskAnswer = `{"partitiontable": {"label":"dos","id":"0x1a2b3c4d","device":"x.img","unit":"sectors","sectorsize":512,
 "partitions": [
  {"node":"x.img1","start":16384,"size":1048576,"type":"c"},
  {"node":"x.img2","start":1064960,"size":100000,"type":"83"}]}}`

func TestParseTable(t *testing.T) {
	got, err := parseTable([]byte(sfdiskAnswer), 2<<30)
	if err != nil {
		t.Fatal(err)
	}
	want := Table{0x1a2b3c4d, []Partition{{8 << 20, 512 << 20, "c"}, {520 << 20, 51_200_000, "83"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := want.PARTUUID(2); got != "1a2b3c4d-02" {
		t.Errorf("PARTUUID(2) = %s", got)
	}
	for name, tt := range map[string]struct {
		answer string
		size   int64
		want   string
	}{
		"cut off":        {sfdiskAnswer, 1 << 30 / 2, "partition 1 ends at byte 545259520, beyond"},
		"gpt":            {strings.Replace(sfdiskAnswer, "dos", "gpt", 1), 2 << 30, `type "gpt", want an MBR`},
		"4096-byte unit": {strings.Replace(sfdiskAnswer, ":512", ":4096", 1), 2 << 30, "sectors of 4096 bytes"},
		"no answer":      {"", 0, "reading sfdisk's answer"},
	} {
		if _, err := parseTable([]byte(tt.answer), tt.size); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestRaspberryPiLayout(t *testing.T) {
	boot, root := Partition{8 << 20, 512 << 20, "c"}, Partition{520 << 20, 1 << 30, "83"}
	for name, tt := range map[string]struct {
		table Table
		want  string
	}{
		"right":       {Table{1, []Partition{boot, root}}, ""},
		"one":         {Table{1, []Partition{boot}}, "1 partitions, want 2"},
		"swapped":     {Table{1, []Partition{root, boot}}, "partition 1 has type 83"},
		"swap root":   {Table{1, []Partition{boot, {0, 1, "82"}}}, "partition 2 has type 82"},
		"no identity": {Table{0, []Partition{boot, root}}, "disk identifier is 0"},
	} {
		_, _, err := tt.table.RaspberryPi()
		if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func TestUsageCountsLinksOnce(t *testing.T) {
	u := usageCounter{seen: map[string]bool{}}
	in := "d 1:2 3 36864\nf 1:10 2 5000\nf 1:10 2 5000\nf 1:11 1 1048576\nl 1:12 1 7\n"
	for i := range in { // as pipes cut it
		u.Write([]byte(in[i : i+1]))
	}
	if u.err != nil {
		t.Fatal(u.err)
	}
	if want := (usage{bytes: 4096 + 8192 + 1<<20, inodes: 4, entries: 5}); u.usage != want {
		t.Errorf("got %+v, want %+v", u.usage, want)
	}
	u.Write([]byte("nonsense\n"))
	if u.err == nil {
		t.Error("a line find does not write was taken")
	}
}

func TestParseExt4LeavesStatesOut(t *testing.T) {
	got := parseExt4(map[string]string{
		"Filesystem UUID": "u", "Inode size": "256", "Directory Hash Seed": "h",
		"Filesystem features": "has_journal ext_attr needs_recovery extent orphan_present",
	})
	want := Ext4{UUID: "u", InodeSize: "256", HashSeed: "h", Features: []string{"has_journal", "ext_attr", "extent"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseList(t *testing.T) {
	dirs, others := parseList(`/2/040755/0/0/.//
/2/040755/0/0/..//
/12/040755/0/0/6.12.107+deb13-arm64//
/13/100644/0/0/a file/21/
/14/120777/0/0/link/4/

`)
	if diff := cmp.Diff([]string{"6.12.107+deb13-arm64"}, dirs); diff != "" {
		t.Errorf("directories (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a file", "link"}, others); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
}

func TestCommands(t *testing.T) {
	boot, root := Partition{8 << 20, 512 << 20, "c"}, Partition{520 << 20, 1 << 30, "83"}
	for _, tt := range []struct {
		got  []string
		want string
	}{
		{mkfatArgv(FAT{"bootfs", 0xabc, 1}, boot, "x.img"),
			"mkfs.vfat -F 32 --invariant -n bootfs -i 00000abc --offset 16384 -s 1 x.img 524288"},
		{mke2fsArgv(Ext4{"rootfs", "UUID", []string{"extent", "dir_index"}, "256", "SEED"}, root, 3000, "/r", "x.img"),
			"mke2fs -q -F -t ext4 -O none,extent,dir_index -b 4096 -I 256 -N 8096 -U UUID -L rootfs -E offset=545259520,hash_seed=SEED,root_owner=0:0,lazy_itable_init=0,nodiscard -d /r x.img 1048576k"},
		{copyFATArgv("x.img", boot, "/t"), "mcopy -s -p -Q -n -m -i x.img@@8388608 ::* /t"},
	} {
		if got := strings.Join(tt.got, " "); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
