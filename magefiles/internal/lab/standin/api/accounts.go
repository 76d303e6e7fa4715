package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/cubeos-app/releases/magefiles/internal/lab/standin/service"
)

// claims is what a token says of its bearer.
type claims struct {
	Username string `json:"username"`
	Role     string `json:"role"`
	Subject  string `json:"sub"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

func (s *Service) sign(message string) string {
	mac := hmac.New(sha256.New, []byte(s.env.Or("JWT_SECRET", "cubeos-dev-secret-change-in-production")))
	mac.Write([]byte(message))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Service) tokenHours() int {
	if hours, err := strconv.Atoi(s.env["JWT_EXPIRATION_HOURS"]); err == nil {
		return hours
	}
	return 24
}

func (s *Service) token(username, role string) (string, error) {
	now := time.Now()
	body, err := json.Marshal(claims{Username: username, Role: role, Subject: username, Issued: now.Unix(), Expires: now.Add(time.Duration(s.tokenHours()) * time.Hour).Unix()})
	if err != nil {
		return "", err
	}
	const header = `{"alg":"HS256","typ":"JWT"}`
	message := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(body)
	return message + "." + s.sign(message), nil
}

func (s *Service) parse(token string) (claims, error) {
	var c claims
	at := strings.LastIndex(token, ".")
	if at < 0 || !hmac.Equal([]byte(s.sign(token[:at])), []byte(token[at+1:])) {
		return c, errors.New("invalid signature")
	}
	_, encoded, _ := strings.Cut(token[:at], ".")
	body, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, err
	}
	if c.Expires != 0 && time.Now().Unix() >= c.Expires {
		return c, errors.New("token is expired")
	}
	return c, nil
}

type bearerKey struct{}

// authenticated lets only those through who have a token.
func (s *Service) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get("Authorization")
		if token := r.URL.Query().Get("token"); header == "" && token != "" {
			header = "Bearer " + token
		}
		scheme, token, _ := strings.Cut(header, " ")
		switch {
		case header == "":
			refuse(w, http.StatusUnauthorized, "Missing authorization header")
			return
		case !strings.EqualFold(scheme, "bearer") || token == "":
			refuse(w, http.StatusUnauthorized, "Invalid authorization header format")
			return
		}
		c, err := s.parse(token)
		if err != nil {
			refuse(w, http.StatusUnauthorized, "Invalid or expired token")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), bearerKey{}, c)))
	})
}

func bearer(r *http.Request) claims {
	c, _ := r.Context().Value(bearerKey{}).(claims)
	return c
}

func (s *Service) logIn(w http.ResponseWriter, r *http.Request) {
	var request struct{ Username, Password string }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "Invalid request body")
		return
	}
	a, there := s.state.get().Accounts[request.Username]
	if !there || bcrypt.CompareHashAndPassword([]byte(a.Hash), []byte(request.Password)) != nil {
		refuse(w, http.StatusUnauthorized, "Invalid credentials")
		return
	}
	s.sendToken(w, request.Username, a.Role, map[string]any{"user": map[string]string{"username": request.Username, "role": a.Role}})
}

func (s *Service) sendToken(w http.ResponseWriter, username, role string, answer map[string]any) {
	token, err := s.token(username, role)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "Failed to generate token")
		return
	}
	answer["access_token"], answer["token_type"], answer["expires_in"] = token, "bearer", s.tokenHours()*3600
	service.JSON(w, http.StatusOK, answer)
}

func (s *Service) refresh(w http.ResponseWriter, r *http.Request) {
	s.sendToken(w, bearer(r).Username, bearer(r).Role, map[string]any{})
}

func (s *Service) me(w http.ResponseWriter, r *http.Request) {
	service.JSON(w, http.StatusOK, map[string]string{"username": bearer(r).Username, "role": bearer(r).Role})
}

func (s *Service) logOut(w http.ResponseWriter, _ *http.Request) {
	service.JSON(w, http.StatusOK, map[string]string{"status": "success", "message": "Logged out successfully"})
}

// changePassword hands the new password on once, in the background.
func (s *Service) changePassword(ctx context.Context) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request struct {
			Current string `json:"current_password"`
			New     string `json:"new_password"`
		}
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			refuse(w, http.StatusBadRequest, "Invalid request body")
			return
		}
		if len(request.New) < 8 {
			refuse(w, http.StatusBadRequest, "New password must be at least 8 characters")
			return
		}
		name := bearer(r).Username
		a := s.state.get().Accounts[name]
		if bcrypt.CompareHashAndPassword([]byte(a.Hash), []byte(request.Current)) != nil {
			refuse(w, http.StatusUnauthorized, "Current password is incorrect")
			return
		}
		if err := s.setAccount(name, request.New, a.Role, a.Email); err != nil {
			refuse(w, http.StatusInternalServerError, "Failed to update password")
			return
		}
		s.syncPasswords(ctx, request.New, 1)
		service.JSON(w, http.StatusOK, map[string]string{"status": "success", "message": "Password changed successfully"})
	}
}

func (s *Service) setAccount(name, password, role, email string) error {
	hash, err := s.state.hash(password)
	if err != nil {
		return err
	}
	return s.state.change(func(d *data) error {
		d.Accounts[name] = account{Hash: hash, Role: role, Email: email}
		return nil
	})
}
