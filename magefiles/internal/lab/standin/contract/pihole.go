package contract

import "net/http"

// pihole needs a Pi-hole whose settings are not locked by the environment, its
// web port excepted.
func pihole() Suite {
	sid := map[string]string{"sid": "{sid}"}
	return Suite{Service: "pihole", Login: ":${CUBEOS_PIHOLE_PASSWORD}", Steps: []Step{
		{Name: "the web interface wants a log-in", Path: "/admin/", Status: http.StatusFound},
		{Name: "the log-in page", Path: "/admin/login", Status: http.StatusOK, Text: "<title>Pi-hole "},
		{Name: "settings without a session", Path: "/api/config/dhcp/active", Status: http.StatusUnauthorized,
			Want: `{"error": {"key": "unauthorized", "message": "Unauthorized", "hint": null}, "took": "<any>"}`},
		{Name: "an unknown path", Path: "/api/no/such", Status: http.StatusNotFound, Want: `{"error": {"key": "not_found", "message": "Not found", "hint": "/api/no/such"}}`},
		{Name: "whether DNS works is no secret", Path: "/api/info/login", Status: http.StatusOK, Want: `{"dns": true}`},
		{Name: "a log-in without a body", Method: http.MethodPost, Path: "/api/auth", Status: http.StatusBadRequest,
			Want: `{"error": {"key": "bad_request"}}`},
		{Name: "a log-in without a password", Method: http.MethodPost, Path: "/api/auth", Body: `{}`, Status: http.StatusBadRequest,
			Want: `{"error": {"key": "bad_request", "message": "No password found in JSON payload"}}`},
		{Name: "a wrong password", Method: http.MethodPost, Path: "/api/auth", Body: `{"password": "wrong"}`, Status: http.StatusUnauthorized,
			Want: `{"session": {"valid": false, "totp": false, "sid": null, "validity": -1, "message": "password incorrect"}}`},
		{Name: "the password", Method: http.MethodPost, Path: "/api/auth", Body: `{"password": "{password}"}`, Status: http.StatusOK,
			Want: `{"session": {"valid": true, "totp": false, "sid": "<sid>", "csrf": "<any>", "validity": 1800, "message": "password correct"}}`},
		{Name: "the session", Path: "/api/auth", Header: sid, Status: http.StatusOK, Want: `{"session": {"valid": true, "sid": "{sid}"}}`},

		{Name: "one setting", Path: "/api/config/dhcp/active", Header: sid, Status: http.StatusOK, Want: `{"config": {"dhcp": {"active": "<any>"}}}`},
		{Name: "settings that are none", Method: http.MethodPatch, Path: "/api/config", Header: sid, Body: `{"dns": {}}`, Status: http.StatusBadRequest,
			Want: `{"error": {"key": "body_error", "message": "No \"config\" object in body data"}}`},
		{Name: "a setting of the wrong type", Method: http.MethodPatch, Path: "/api/config", Header: sid, Body: `{"config": {"dhcp": {"active": "yes"}}}`, Status: http.StatusBadRequest,
			Want: `{"error": {"key": "bad_request", "message": "Config item is invalid", "hint": "dhcp.active: not of type bool"}}`},
		{Name: "a range the wrong way round", Method: http.MethodPatch, Path: "/api/config", Header: sid, Status: http.StatusBadRequest,
			Body: `{"config": {"dhcp": {"active": true, "start": "192.0.2.200", "end": "192.0.2.10", "router": "192.0.2.1"}}}`,
			Want: `{"error": {"key": "bad_request", "message": "Invalid configuration", "hint": "DHCP range start address is larger than the end address"}}`},
		{Name: "a host without a name", Method: http.MethodPatch, Path: "/api/config/dns/hosts", Header: sid, Body: `{"config": {"dns": {"hosts": ["192.0.2.1"]}}}`, Status: http.StatusBadRequest,
			Want: `{"error": {"key": "bad_request", "message": "Config item validation failed"}}`},
		{Name: "adding a host", Method: http.MethodPut, Path: "/api/config/dns/hosts/192.0.2.1%20contract.example", Header: sid, Status: http.StatusCreated},
		{Name: "adding it again", Method: http.MethodPut, Path: "/api/config/dns/hosts/192.0.2.1%20contract.example", Header: sid, Status: http.StatusBadRequest,
			Want: `{"error": {"message": "Item already present", "hint": "Uniqueness of items is enforced"}}`},
		{Name: "taking it away", Method: http.MethodDelete, Path: "/api/config/dns/hosts/192.0.2.1%20contract.example", Header: sid, Status: http.StatusNoContent},
		{Name: "taking it away again", Method: http.MethodDelete, Path: "/api/config/dns/hosts/192.0.2.1%20contract.example", Header: sid, Status: http.StatusNotFound},
		{Name: "a list that is none", Method: http.MethodPut, Path: "/api/config/dhcp/active/x", Header: sid, Status: http.StatusNotFound},
		{Name: "a change that restarts FTL", Method: http.MethodPatch, Path: "/api/config/dns/dnssec", Header: sid, Body: `{"config": {"dns": {"dnssec": true}}}`, Status: http.StatusOK,
			Want: `{"config": {"dns": {"dnssec": true}}}`},
		{Name: "the session outlives it", Path: "/api/config/dns/dnssec", Header: sid, Status: http.StatusOK, Want: `{"config": {"dns": {"dnssec": true}}}`},
		{Name: "and back", Method: http.MethodPatch, Path: "/api/config", Header: sid, Body: `{"config": {"dns": {"dnssec": false}}}`, Status: http.StatusOK},
		{Name: "what the environment decides", Method: http.MethodPatch, Path: "/api/config", Header: sid, Body: `{"config": {"webserver": {"port": "81"}}}`, Status: http.StatusBadRequest,
			Want: `{"error": {"key": "bad_request", "message": "Config items set via environment variables cannot be changed via the API", "hint": "webserver.port"}}`},

		{Name: "leases", Path: "/api/dhcp/leases", Header: sid, Status: http.StatusOK, Want: `{"leases": "<any>"}`},
		{Name: "logging out", Method: http.MethodDelete, Path: "/api/auth", Header: sid, Status: http.StatusNoContent},
		{Name: "after that", Path: "/api/config", Header: sid, Status: http.StatusUnauthorized},
	}}
}
