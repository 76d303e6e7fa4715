package pihole

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// lease is a line of dhcp.leases.
type lease struct {
	expires  int64 // seconds since 1970; 0 is never
	hardware string
	addr     netip.Addr
	name     string
	clientID string
}

func (l lease) String() string {
	star := func(s string) string {
		if s == "" {
			return "*"
		}
		return s
	}
	return fmt.Sprintf("%d %s %s %s %s", l.expires, l.hardware, l.addr, star(l.name), star(l.clientID))
}

func (l lease) over(now time.Time) bool { return l.expires != 0 && l.expires <= now.Unix() }

// leaseTable is dhcp.leases, in memory and on disk.
type leaseTable struct {
	path string

	mu     sync.Mutex
	leases []lease
}

func openLeases(path string) (*leaseTable, error) {
	t := &leaseTable{path: path}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, t.save()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the leases: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue // dnsmasq keeps its own DUID in this file, too
		}
		expires, err1 := strconv.ParseInt(fields[0], 10, 64)
		addr, err2 := netip.ParseAddr(fields[2])
		if err1 != nil || err2 != nil {
			continue
		}
		star := func(s string) string { return strings.TrimPrefix(s, "*") }
		t.leases = append(t.leases, lease{expires: expires, hardware: fields[1], addr: addr, name: star(fields[3]), clientID: star(fields[4])})
	}
	return t, nil
}

// save needs the lock.
func (t *leaseTable) save() error {
	var b strings.Builder
	for _, l := range t.leases {
		fmt.Fprintln(&b, l)
	}
	if err := os.WriteFile(t.path, []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("saving the leases: %w", err)
	}
	return nil
}

// all returns the leases that are not over.
func (t *leaseTable) all(now time.Time) []lease {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(t.leases), func(l lease) bool { return l.over(now) })
}

// choose returns the address for a client: the one it has, the one it wishes,
// or the first that is free. It is not valid if none is.
func (t *leaseTable) choose(hardware net.HardwareAddr, wish, start, end netip.Addr, now time.Time) netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	free := func(addr netip.Addr) bool {
		return !addr.Less(start) && !end.Less(addr) && !slices.ContainsFunc(t.leases, func(l lease) bool {
			return l.addr == addr && l.hardware != hardware.String() && !l.over(now)
		})
	}
	for _, l := range t.leases {
		if l.hardware == hardware.String() && free(l.addr) {
			return l.addr
		}
	}
	if wish.IsValid() && free(wish) {
		return wish
	}
	for addr := start; !end.Less(addr); addr = addr.Next() {
		if free(addr) {
			return addr
		}
	}
	return netip.Addr{}
}

// set replaces the lease of the client or of the address.
func (t *leaseTable) set(l lease) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leases = append(slices.DeleteFunc(t.leases, func(old lease) bool {
		return old.hardware == l.hardware || old.addr == l.addr
	}), l)
	return t.save()
}

// remove takes the lease of an address away.
func (t *leaseTable) remove(addr netip.Addr) (found bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := len(t.leases)
	t.leases = slices.DeleteFunc(t.leases, func(l lease) bool { return l.addr == addr })
	if len(t.leases) == before {
		return false, nil
	}
	return true, t.save()
}
