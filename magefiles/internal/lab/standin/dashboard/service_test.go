package dashboard

import (
	"strings"
	"testing"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

func TestURLsHaveToBeThoseOfServers(t *testing.T) {
	_, err := New(service.Env{"API_URL": "10.42.24.1:6010", "DOCS_URL": "docs"}, Options{})
	if err == nil || !strings.Contains(err.Error(), "API_URL") || !strings.Contains(err.Error(), "DOCS_URL") {
		t.Errorf("got %v", err)
	}
	if _, err := New(service.Env{}, Options{}); err != nil {
		t.Errorf("without any: %v", err)
	}
}
