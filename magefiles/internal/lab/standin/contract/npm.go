package contract

import "net/http"

// npm needs a Nginx Proxy Manager at port 81 and an administrator of it. The
// host names and the address of the accounts it makes are reserved for examples.
func npm() Suite {
	bearer := map[string]string{"Authorization": "Bearer {token}"}
	theirs := map[string]string{"Authorization": "Bearer {theirs}"}
	return Suite{Service: "npm", Login: "${CUBEOS_NPM_EMAIL}:${CUBEOS_NPM_PASSWORD}", Steps: []Step{
		{Name: "health", Path: "/api/", Status: http.StatusOK, Want: `{"status": "OK", "setup": true, "version": {"major": 2}}`},
		{Name: "the API's name without a slash", Path: "/api", Status: http.StatusFound},
		{Name: "an unknown path", Path: "/api/no/such", Status: http.StatusNotFound, Want: `{"error": {"code": 404}}`},
		{Name: "a log-in without a password", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "{user}"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"code": 400, "message": "data must have required property 'secret'"}}`},
		{Name: "a log-in with more than that", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "{user}", "secret": "{password}", "more": 1}`, Status: http.StatusBadRequest,
			Want: `{"error": {"code": 400, "message": "data must NOT have additional properties"}}`},
		{Name: "a wrong password", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "{user}", "secret": "wrong"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"code": 400, "message": "Invalid email or password", "message_i18n": "error.invalid-auth"}}`},
		{Name: "the password", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "{user}", "secret": "{password}"}`, Status: http.StatusOK,
			Want: `{"token": "<token>", "expires": "<any>"}`},
		{Name: "a fresh token", Path: "/api/tokens", Header: bearer, Status: http.StatusOK, Want: `{"token": "<token>"}`},
		{Name: "users without a token, which is as if there were none", Path: "/api/users", Status: http.StatusNotFound, Want: `{"error": {"code": 404, "message": "Not Found - /users"}}`},
		{Name: "a bad host without a token", Method: http.MethodPost, Path: "/api/nginx/proxy-hosts", Body: `{"domain_names": ["contract.example.org"], "forward_scheme": "http", "forward_host": "127.0.0.1"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"message": "data must have required property 'forward_port'"}}`},
		{Name: "oneself without a token", Path: "/api/users/me", Status: http.StatusInternalServerError, Want: `{"error": {"message": "Internal Error"}}`},
		{Name: "users with a forged token", Path: "/api/users", Header: map[string]string{"Authorization": "Bearer forged"}, Status: http.StatusInternalServerError,
			Want: `{"error": {"message": "Internal Error"}}`},
		{Name: "oneself", Path: "/api/users/me?expand=permissions", Header: bearer, Status: http.StatusOK,
			Want: `{"id": "<me>", "email": "{user}", "is_disabled": false, "permissions": {"visibility": "all", "proxy_hosts": "manage"}}`},

		{Name: "a user with a password of its own", Method: http.MethodPost, Path: "/api/users", Header: bearer, Status: http.StatusBadRequest,
			Body: `{"name": "Contract", "nickname": "contract", "email": "contract@example.org", "roles": ["admin"], "is_disabled": false, "secret": "0123456789"}`,
			Want: `{"error": {"code": 400, "message": "data must NOT have additional properties"}}`},
		{Name: "a user without a name", Method: http.MethodPost, Path: "/api/users", Header: bearer, Body: `{"nickname": "contract", "email": "contract@example.org"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"code": 400, "message": "data must have required property 'name'"}}`},
		{Name: "a user", Method: http.MethodPost, Path: "/api/users", Header: bearer, Status: http.StatusCreated,
			Body: `{"name": "Contract", "nickname": "contract", "email": "contract@example.org", "roles": ["admin"], "is_disabled": false, "auth": {"type": "password", "secret": "0123456789"}}`,
			Want: `{"id": "<other>", "email": "contract@example.org", "roles": ["admin"], "permissions": {"visibility": "all"}}`},
		{Name: "that user's log-in", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "contract@example.org", "secret": "0123456789"}`, Status: http.StatusOK, Want: `{"token": "<theirs>"}`},
		{Name: "a short password", Method: http.MethodPut, Path: "/api/users/{other}/auth", Header: bearer, Body: `{"type": "password", "secret": "short"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"message": "data/secret must NOT have fewer than 8 characters"}}`},
		{Name: "one's own password without the old one", Method: http.MethodPut, Path: "/api/users/{other}/auth", Header: theirs, Body: `{"type": "password", "secret": "abcdefghij"}`, Status: http.StatusBadRequest,
			Want: `{"error": {"message": "Current password was not supplied"}}`},
		{Name: "another's password", Method: http.MethodPut, Path: "/api/users/{other}/auth", Header: bearer, Body: `{"type": "password", "secret": "abcdefghij"}`, Status: http.StatusOK, Text: "true"},
		{Name: "the new password", Method: http.MethodPost, Path: "/api/tokens", Body: `{"identity": "contract@example.org", "secret": "abcdefghij"}`, Status: http.StatusOK},

		{Name: "a host without a port", Method: http.MethodPost, Path: "/api/nginx/proxy-hosts", Header: bearer, Status: http.StatusBadRequest,
			Body: `{"domain_names": ["contract.example.org"], "forward_scheme": "http", "forward_host": "127.0.0.1"}`,
			Want: `{"error": {"message": "data must have required property 'forward_port'"}}`},
		{Name: "a host", Method: http.MethodPost, Path: "/api/nginx/proxy-hosts", Header: theirs, Status: http.StatusCreated,
			Body: `{"domain_names": ["contract.example.org"], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 81}`,
			Want: `{"id": "<host>", "domain_names": ["contract.example.org"], "enabled": true, "meta": {}}`},
		{Name: "its name again", Method: http.MethodPost, Path: "/api/nginx/proxy-hosts", Header: bearer, Status: http.StatusBadRequest,
			Body: `{"domain_names": ["contract.example.org"], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 81}`,
			Want: `{"error": {"message": "contract.example.org is already in use"}}`},
		{Name: "what nginx makes of it", Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusOK, Want: `{"meta": {"nginx_online": true, "nginx_err": null}}`},
		{Name: "a change that nginx rejects", Method: http.MethodPut, Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Body: `{"advanced_config": "no_such_directive on;"}`, Status: http.StatusOK},
		{Name: "what nginx makes of that", Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusOK, Want: `{"meta": {"nginx_online": false, "nginx_err": "<any>"}}`},
		{Name: "the host taken away", Method: http.MethodDelete, Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusOK, Text: "true"},
		{Name: "and again", Method: http.MethodDelete, Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusNotFound, Want: `{"error": {"message": "Not Found - {host}"}}`},
		{Name: "a host that nginx rejects", Method: http.MethodPost, Path: "/api/nginx/proxy-hosts", Header: bearer, Status: http.StatusCreated,
			Body: `{"domain_names": ["contract.example.org"], "forward_scheme": "http", "forward_host": "127.0.0.1", "forward_port": 81, "advanced_config": "no_such_directive on;"}`,
			Want: `{"id": "<host>"}`},
		{Name: "it is kept", Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusOK, Want: `{"meta": {"nginx_online": false}}`},
		{Name: "taking it away", Method: http.MethodDelete, Path: "/api/nginx/proxy-hosts/{host}", Header: bearer, Status: http.StatusOK},

		{Name: "oneself taken away", Method: http.MethodDelete, Path: "/api/users/{me}", Header: bearer, Status: http.StatusForbidden},
		{Name: "the user taken away", Method: http.MethodDelete, Path: "/api/users/{other}", Header: bearer, Status: http.StatusOK, Text: "true"},
		{Name: "a token of nobody", Path: "/api/users", Header: theirs, Status: http.StatusNotFound, Want: `{"error": {"message": "Not Found - /users"}}`},
	}}
}
