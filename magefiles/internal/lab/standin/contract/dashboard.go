package contract

import "net/http"

// dashboard needs a Dashboard that reaches the API.
func dashboard() Suite {
	return Suite{Service: "cubeos-dashboard", Steps: []Step{
		{Name: "the page", Path: "/", Status: http.StatusOK, Text: "<title>CubeOS Dashboard</title>"},
		{Name: "the page at any path", Path: "/no/such", Status: http.StatusOK, Text: "<title>CubeOS Dashboard</title>"},
		{Name: "the API's health", Path: "/health", Status: http.StatusOK, Want: `{"status": "healthy"}`},
		{Name: "the API", Path: "/api/v1/setup/status", Status: http.StatusOK, Want: `{"is_complete": "<any>"}`},
	}}
}
