package pihole

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Gravity's patience, of pi-hole 6.2.2's gravity.sh. A name server that is
// silent and one that says it does not know are the same to the container's
// resolver, musl's: it asks for ten seconds, five for each kind of address.
const (
	resolverPatience = 10 * time.Second
	gravityTries     = 40
)

// gravity makes the database of the lists before FTL is started, where there
// is none. It needs a name server for that; without one it gives up in the end,
// and FTL is started without the database, as at every later start.
func (s *Service) gravity(ctx context.Context, database string) error {
	if _, err := os.Stat(database); err == nil {
		log.Print("Existing gravity database found")
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for gravity's database: %w", err)
	}
	log.Printf("%s does not exist; gravity is run to create it", database)
	patience := s.options.ResolverPatience
	if patience == 0 {
		patience = resolverPatience
	}
	if s.resolves(ctx, "raw.githubusercontent.com", patience*2/5) {
		return s.makeDatabase(database)
	}
	for range gravityTries {
		began := time.Now()
		if s.resolves(ctx, "github.com", patience) {
			return s.makeDatabase(database)
		}
		// The second between two tries is a tenth of what one takes.
		if err := sleep(ctx, patience+patience/10-time.Since(began)); err != nil {
			return err
		}
	}
	log.Print("No DNS resolution available. Please contact support.")
	return nil
}

func (s *Service) resolves(ctx context.Context, name string, patience time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	lookup := s.options.LookupHost
	if lookup == nil {
		lookup = (&net.Resolver{PreferGo: true}).LookupHost
	}
	addrs, err := lookup(ctx, name)
	return err == nil && len(addrs) > 0
}

// makeDatabase leaves a database with nothing in it.
func (s *Service) makeDatabase(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making gravity's database: %w", err)
	}
	if err := os.WriteFile(path, []byte("SQLite format 3\x00"), 0o640); err != nil {
		return fmt.Errorf("making gravity's database: %w", err)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// GravityTemplate is where the image has the statements that make gravity's
// database.
const GravityTemplate = "/etc/.pihole/advanced/Templates/gravity.db.sql"

// GravitySchema is what they are, as far as anything here would read the
// database: its version.
const GravitySchema = `PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE info (property TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO info VALUES ('version', '20');
CREATE TABLE adlist (id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, enabled BOOLEAN NOT NULL DEFAULT 1);
CREATE TABLE gravity (domain TEXT NOT NULL, adlist_id INTEGER NOT NULL REFERENCES adlist (id));
COMMIT;
`
