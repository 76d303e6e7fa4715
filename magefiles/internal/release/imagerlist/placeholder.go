package imagerlist

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
)

// checks say for a field what its value has to be to be of any use. The words of
// names and descriptions are anybody's own.
func checks() map[string]func(any) error {
	return map[string]func(any) error{
		"extract_sha256":        isDigest,
		"image_download_sha256": isDigest,
		"extract_size":          isSize,
		"image_download_size":   isSize,
		"release_date":          isDate,
		"url":                   isURL,
		"subitems_url":          isURL,
		"bmap_url":              optional(isURL),
		"website":               optional(isURL),
		"icon":                  optional(isIcon),
	}
}

// optional lets a field be empty.
func optional(check func(any) error) func(any) error {
	return func(v any) error {
		if v == "" {
			return nil
		}
		return check(v)
	}
}

// placeholders reports every value in v that can not be what its field is for.
func placeholders(where string, v any) []error {
	var problems []error
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			problems = append(problems, placeholders(fmt.Sprintf("%s/%d", where, i), item)...)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if check, ok := checks()[key]; !ok {
				problems = append(problems, placeholders(where+"/"+key, v[key])...)
			} else if err := check(v[key]); err != nil {
				problems = append(problems, fmt.Errorf("%s/%s is a placeholder: %q %w", where, key, fmt.Sprint(v[key]), err))
			}
		}
	}
	return problems
}

var sha256Hex = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)

func isDigest(v any) error {
	s, _ := v.(string)
	if !sha256Hex.MatchString(s) {
		return errors.New("is no SHA-256")
	}
	if strings.Count(s, s[:1]) == len(s) {
		return errors.New("is no file's SHA-256")
	}
	return nil
}

func isSize(v any) error {
	n, _ := v.(json.Number)
	if size, err := n.Int64(); err != nil || size <= 0 {
		return errors.New("is no size in bytes")
	}
	return nil
}

func isDate(v any) error {
	s, _ := v.(string)
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return errors.New("is no date such as 2026-01-31")
	}
	return nil
}

// isURL wants an address as it has to be written: <, { and the like are no part
// of one (RFC 3986), but of what somebody was to fill in.
func isURL(v any) error {
	s, _ := v.(string)
	u, err := url.Parse(s)
	if err != nil || strings.ContainsAny(s, "<>{}\"\\^`|") || strings.ContainsFunc(s, unicode.IsSpace) ||
		u.Scheme == "" || (u.Host == "") != (u.Scheme == "file") || u.Scheme == "file" && !path.IsAbs(u.Path) {
		return errors.New("is no URL")
	}
	return nil
}

// isIcon takes what Imager does: a URL, an image in the list itself or a file of
// its own.
func isIcon(v any) error {
	s, _ := v.(string)
	switch u, err := url.Parse(s); {
	case strings.HasPrefix(s, "data:image/"):
		return nil
	case err == nil && (u.Scheme == "" || u.Scheme == "qrc") && slices.Contains([]string{".png", ".svg", ".jpg", ".jpeg", ".webp"}, strings.ToLower(path.Ext(u.Path))):
		return nil
	}
	return isURL(v)
}
