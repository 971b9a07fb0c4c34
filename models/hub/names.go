package hub

import (
	"fmt"
	"strings"
)

// CheckRepo refuses what no repository is called: "name" or "org/name" of
// ASCII letters, digits, "_", "-" and ".".
func CheckRepo(repo string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: repository id %q %s", ErrRequest, clip(repo), why)
	}
	parts := strings.Split(repo, "/")
	if len(parts) > 2 {
		return bad(`has more than one "/"`)
	}
	for _, p := range parts {
		if p == "" || len(p) > 96 {
			return bad("has a part that is empty or longer than 96 characters")
		}
		for i := range len(p) {
			if c := p[i]; !wordByte(c) && c != '-' && c != '.' {
				return bad(`has a character other than letters, digits, "_", "-", "."`)
			}
		}
		if !wordByte(p[0]) || !wordByte(p[len(p)-1]) {
			return bad(`has a part that begins or ends with "-" or "."`)
		}
	}
	if strings.Contains(repo, "--") || strings.Contains(repo, "..") || strings.HasSuffix(repo, ".git") {
		return bad(`has "--" or "..", or ends in ".git"`)
	}
	return nil
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// checkRevision refuses what git refuses in the name of a branch or tag, as far
// as it could do harm in a path.
func checkRevision(rev string) error {
	bad := rev == "" || len(rev) > 255 || strings.HasPrefix(rev, "-") || strings.ContainsAny(rev, "\\:?*[~^")
	for _, part := range strings.Split(rev, "/") {
		bad = bad || part == "" || strings.HasPrefix(part, ".") || strings.Contains(part, "..")
	}
	for _, r := range rev {
		bad = bad || r <= ' ' || r == 0x7f
	}
	if bad {
		return fmt.Errorf("%w: %q is no name of a revision", ErrRequest, clip(rev))
	}
	return nil
}

// isCommit says whether rev is a full commit id, which needs no resolving.
func isCommit(rev string) bool { return len(rev) == 40 && isHex(rev) }

func isHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return s != ""
}

// unsafeName says why a name of the listing could leave the folder on any
// system, or "". One such name is reason to refuse the whole repository.
func unsafeName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 4096:
		return "is too long"
	case strings.ContainsRune(name, 0):
		return "has a NUL byte"
	case strings.Contains(name, `\`):
		return "has a backslash"
	case strings.HasPrefix(name, "/"):
		return "is absolute"
	}
	for _, part := range strings.Split(name, "/") {
		switch {
		case part == "" || part == ".":
			return "has an empty part"
		case part == "..":
			return "leaves the folder"
		case len(part) >= 2 && part[1] == ':' && wordByte(part[0]):
			return "has a drive letter"
		}
	}
	return ""
}

// unfitName says why a safe name cannot be written on every system, or "". Such
// a file may stand in the listing but is never fetched.
func unfitName(name string) string {
	if first, _, _ := strings.Cut(name, "/"); strings.EqualFold(first, ".cache") || strings.EqualFold(first, ".git") {
		return "lies where the download keeps its records"
	}
	for _, part := range strings.Split(name, "/") {
		if strings.HasSuffix(part, ".") || strings.HasSuffix(part, " ") {
			return "has a part that ends in a dot or a space"
		}
		for _, r := range part {
			if r < ' ' || r == 0x7f || strings.ContainsRune(`<>:"|?*`, r) {
				return "has a character that not every system takes"
			}
		}
		stem, _, _ := strings.Cut(part, ".")
		switch stem = strings.ToUpper(strings.TrimRight(stem, " ")); stem {
		case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
			return "is a device on Windows"
		}
		if r := []rune(stem); len(r) == 4 && (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && strings.ContainsRune("0123456789¹²³", r[3]) {
			return "is a device on Windows"
		}
	}
	return ""
}
