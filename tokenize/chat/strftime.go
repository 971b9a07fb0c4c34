package chat

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// strftime writes a time by a format as Python's strftime does with the C locale. Times of datetime.now() carry no
// zone there, so %z and %Z are empty.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		pad := true
		if format[i] == '-' && i+1 < len(format) {
			pad = false
			i++
		}
		number := func(n, width int) {
			s := strconv.Itoa(n)
			if pad {
				s = strings.Repeat("0", max(width-len(s), 0)) + s
			}
			b.WriteString(s)
		}
		nested := ""
		year, week := t.ISOWeek()
		switch c := format[i]; c {
		case '%':
			b.WriteByte('%')
		case 'a':
			b.WriteString(t.Format("Mon"))
		case 'A':
			b.WriteString(t.Format("Monday"))
		case 'b', 'h':
			b.WriteString(t.Format("Jan"))
		case 'B':
			b.WriteString(t.Format("January"))
		case 'C':
			number(t.Year()/100, 2)
		case 'c':
			nested = "%a %b %e %H:%M:%S %Y"
		case 'd':
			number(t.Day(), 2)
		case 'D', 'x':
			nested = "%m/%d/%y"
		case 'e':
			b.WriteString(t.Format("_2"))
		case 'f':
			number(t.Nanosecond()/1000, 6)
		case 'F':
			nested = "%Y-%m-%d"
		case 'G':
			number(year, 4)
		case 'g':
			number(year%100, 2)
		case 'H':
			number(t.Hour(), 2)
		case 'I':
			number((t.Hour()+11)%12+1, 2)
		case 'j':
			number(t.YearDay(), 3)
		case 'k':
			fmt.Fprintf(&b, "%2d", t.Hour())
		case 'l':
			fmt.Fprintf(&b, "%2d", (t.Hour()+11)%12+1)
		case 'm':
			number(int(t.Month()), 2)
		case 'M':
			number(t.Minute(), 2)
		case 'n':
			b.WriteByte('\n')
		case 'p':
			b.WriteString(t.Format("PM"))
		case 'P':
			b.WriteString(t.Format("pm"))
		case 'r':
			nested = "%I:%M:%S %p"
		case 'R':
			nested = "%H:%M"
		case 's':
			number(int(t.Unix()), 1)
		case 'S':
			number(t.Second(), 2)
		case 't':
			b.WriteByte('\t')
		case 'T', 'X':
			nested = "%H:%M:%S"
		case 'u':
			number((int(t.Weekday())+6)%7+1, 1)
		case 'U':
			number((t.YearDay()+6-int(t.Weekday()))/7, 2)
		case 'V':
			number(week, 2)
		case 'w':
			number(int(t.Weekday()), 1)
		case 'W':
			number((t.YearDay()+6-(int(t.Weekday())+6)%7)/7, 2)
		case 'y':
			number(t.Year()%100, 2)
		case 'Y':
			number(t.Year(), 4)
		case 'z', 'Z':
		default:
			b.WriteByte('%')
			if !pad {
				b.WriteByte('-')
			}
			b.WriteByte(c)
		}
		if nested != "" {
			b.WriteString(strftime(t, nested))
		}
	}
	return b.String()
}
