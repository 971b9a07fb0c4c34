package chat

// Special is the spelling of a special token by the name of its variable, as "eos_token"; empty where the repository has
// none of that name.
func (t *Templates) Special(name string) string {
	v, _ := t.special.Get(name)
	if s, ok := v.(textValue); ok {
		return s.s
	}
	return ""
}
