package identity

import (
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/internal/problem"
)

// foreignPassword is hashed in foreignHashes, by other programs: see the vectors of
// package password.
const foreignPassword = "correct horse battery stäple"

const sha512Hash = "$6$saltstring$NpGKDO1FVnlOtoUy3I.nmOvtqT5INRfPiedf1QLluukfFmjPqlR0v9IlYb8McnX07wXpuvYAJyQb1KyvPnkw9/"

// foreignHashes is a hash of each format.
func foreignHashes() map[string]string {
	return map[string]string{
		"bcrypt":        "$2y$04$LX8JtCM9lRvPbT2yZ0aKwePd/V.lCFJeYPbLKOQDViJMcgzp5S/IW",
		"bcrypt-sha256": "bcrypt_sha256$$2b$04$LX8JtCM9lRvPbT2yZ0aKweBvmWsdpTP.1yyq/2ifXrJ12WflpdjXi",
		"sha512crypt":   sha512Hash,
		"pbkdf2":        "pbkdf2_sha256$1200$seasalt$mRIXU7cCoJ98ujs+mqZ8iZIMfBeg1sKP4VUSbxRsuVw=",
		"scrypt":        "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$ufUSEsMtotyS4RpE2AA5zyVnMKTKjNpyy1y5V6IiRTc",
		"argon2i":       "$argon2i$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$sf1gnydhDtp+tLk6yDzww1jZ6CcouK7NH1GJ/yK3XqU",
		"argon2id":      "$argon2id$v=19$m=256,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$SD8FtqGJlQcege8pkInBr/qkbdbiQern50Ovx3EvNrg",
		"ssha":          "{SSHA}xqbYsLzMA3V3n6UhSDLfJJAUyMoBAgMEBQYHCA==",
	}
}

func (w *world) load(format, file string, o ImportOptions) (ImportReport, error) {
	w.t.Helper()
	o.Format = format
	return w.id.Import(w.t.Context(), strings.NewReader(file), o)
}

// TestImportLogsIn imports a hash of each sort, logs in with the password, and finds
// the hash renewed.
func TestImportLogsIn(t *testing.T) {
	w := newWorld(t, openZone())
	file := "email,password,name,roles,verified,created\n"
	hashes := foreignHashes()
	for format, hash := range hashes {
		file += fmt.Sprintf("%s@shop.example,%q,%s,support auditor,true,2020-05-06\n", strings.ReplaceAll(format, "-", "."), hash, format)
	}
	file = "\uFEFF" + file + "none@shop.example,,Nobody,,false,\n"
	report, err := w.load(ImportCSV, file, ImportOptions{DryRun: true})
	if err != nil || report.Added != len(hashes)+1 || report.Invalid != 0 || w.number("SELECT COUNT(*) FROM users") != 0 {
		t.Fatalf("dry run: %+v %v", report, err)
	}
	for format := range hashes {
		if report.Formats[format] != 1 {
			t.Errorf("formats %v: %s", report.Formats, format)
		}
	}
	if report, err = w.load(ImportCSV, file, ImportOptions{}); err != nil || report.Added != len(hashes)+1 {
		t.Fatalf("%+v %v", report, err)
	}
	for format, hash := range hashes {
		email := strings.ReplaceAll(format, "-", ".") + "@shop.example"
		a, _, _ := w.id.accountByEmail(t.Context(), email)
		if a.password != hash || a.form != "raw" || !a.Verified || strings.Join(a.Roles, " ") != "auditor support" || a.Created.Year() != 2020 || a.passwordAt.Year() != 2020 {
			t.Errorf("%s: %+v", format, a)
		}
		if w.logsIn(email, "not the password") || !w.logsIn(email, foreignPassword) {
			t.Errorf("%s: it does not log in", format)
		}
		if a, _, _ = w.id.accountByEmail(t.Context(), email); !strings.HasPrefix(a.password, "$argon2id$v=19$m=19456,t=2,p=1$") || a.form != "nfc" {
			t.Errorf("%s: not renewed: %s", format, a.password)
		}
		if !w.logsIn(email, foreignPassword) {
			t.Errorf("%s: it does not log in after its renewal", format)
		}
	}
	if a, found, _ := w.id.accountByEmail(t.Context(), "none@shop.example"); !found || a.password != "" || !a.passwordAt.IsZero() || a.Verified {
		t.Errorf("without a password: %+v", a)
	}
}

func TestImportJSON(t *testing.T) {
	w := newWorld(t, openZone())
	report, err := w.load(ImportJSON, `{"email":"ada@shop.example","password":"`+sha512Hash+`","name":"Ada","roles":["support"],"verified":true,"created":"2020-05-06T07:08:09Z"}

{"email":"eve@shop.example","password":null}`, ImportOptions{})
	if err != nil || report.Added != 2 || report.Rows != 2 {
		t.Fatalf("%+v %v", report, err)
	}
	u, err := w.id.User(t.Context(), "ada@shop.example")
	if err != nil || u.Name != "Ada" || !u.Verified || strings.Join(u.Roles, "") != "support" || u.Created.Minute() != 8 {
		t.Errorf("%+v %v", u, err)
	}
}

// TestImportFaults: each row is told with its line and why, and none is stored unless
// the others are asked for.
func TestImportFaults(t *testing.T) {
	rows := []struct{ row, want string }{
		{"ok@shop.example," + sha512Hash + ",Ok,,true,", ""},
		{"no address,,,,,", "email: not an address"},
		{"a@shop.example,plain text,,,,", "password: "},
		{"b@shop.example,,,two words/,,", "role"},
		{"c@shop.example,,,,perhaps,", "verified: want"},
		{"d@shop.example,,,,,tomorrow", "created: want"},
		{"e@shop.example,,,,,2999-01-01", "created: not a time"},
		{"OK@shop.example,,,,,", "email: stands on line 2 too"},
		{"known@shop.example,,,,,", "email: there is an account"},
		{"f@shop.example,,,,", "5 fields"},
		{"g@shop.example," + strings.Repeat("x", importHash+1) + ",,,,", "password: longer"},
		{"h@shop.example,," + strings.Repeat("x", 101) + ",,,", "name: longer"},
		{"\"i@shop.example\",,\"two\nlines\",,,", "name: not one line"},
		{"last@shop.example,,,,,", ""},
	}
	file := "email,password,name,roles,verified,created\n"
	for _, r := range rows {
		file += r.row + "\n"
	}
	w := newWorld(t, openZone())
	w.addUser("known@shop.example", goodPassword)
	report, err := w.load(ImportCSV, file, ImportOptions{})
	if err != nil || report.Rows != len(rows) || report.Invalid != len(rows)-2 || report.Added != 0 || w.number("SELECT COUNT(*) FROM users") != 1 {
		t.Fatalf("%+v %v; %d users", report, err, w.number("SELECT COUNT(*) FROM users"))
	}
	for i, r := range rows {
		at := i + 2
		if i == len(rows)-1 {
			at++ // a row before it has two lines
		}
		text := ""
		for _, f := range report.Faults {
			if f.Line == at {
				text = f.Text
			}
		}
		if r.want == "" && text != "" || !strings.Contains(text, r.want) {
			t.Errorf("line %d: %q, want %q", at, text, r.want)
		}
		if strings.Contains(text, "shop.example") || strings.Contains(text, "plain text") {
			t.Errorf("line %d tells what it holds: %q", at, text)
		}
	}
	report, err = w.load(ImportCSV, file, ImportOptions{SkipInvalid: true, DryRun: true})
	if err != nil || report.Added != 2 || w.number("SELECT COUNT(*) FROM users") != 1 {
		t.Errorf("dry run: %+v %v", report, err)
	}
	report, err = w.load(ImportCSV, file, ImportOptions{SkipInvalid: true})
	if err != nil || report.Added != 2 || w.number("SELECT COUNT(*) FROM users") != 3 {
		t.Errorf("the others: %+v %v", report, err)
	}
}

func TestImportFileFaults(t *testing.T) {
	w := newWorld(t, openZone())
	for name, c := range map[string]struct{ format, file, want string }{
		"empty":             {ImportCSV, "", "empty"},
		"no such column":    {ImportCSV, "email,shoe size\n", "there is no column"},
		"twice":             {ImportCSV, "email,email\n", "stands twice"},
		"without addresses": {ImportCSV, "name,roles\n", "no column email"},
		"no CSV":            {ImportCSV, "email\n\"a\"b\n", "line 2"},
		"a long line":       {ImportCSV, "email\n" + strings.Repeat("x", importLine+1) + "\n", "longer than"},
		"a long field":      {ImportCSV, "email\n\"" + strings.Repeat("x\n", importLine) + strings.Repeat("x", importLine+1), "longer than"},
		"a long object":     {ImportJSON, `{"email":"` + strings.Repeat("x", importLine) + `"}`, "longer than"},
		"no format":         {"xml", "<users/>", "csv or json"},
	} {
		_, err := w.load(c.format, c.file, ImportOptions{})
		if problem.ReasonOf(err) != problem.AdminInvalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, row := range []string{`[]`, `{`, `{"email":"a@b.example","email":"c@d.example"}`, `{"shoe":1}`, `{"email":1}`, `{"email":"a@b.example","roles":"x"}`,
		`{"email":"a@b.example","roles":["x y"]}`, `{"email":"a@b.example","verified":"yes"}`, `{"email":"a@b.example"} {}`, "{\"email\":\"\xff\"}", `{"name":true}`, `{"name":["x"]}`, `{"name":{}}`} {
		report, err := w.load(ImportJSON, row, ImportOptions{})
		if err != nil || report.Invalid != 1 || report.Faults[0].Line != 1 {
			t.Errorf("%s: %+v %v", row, report, err)
		}
	}
}

func FuzzImport(f *testing.F) {
	f.Add("csv", "email,password\na@b.example,x\n")
	f.Add("json", `{"email":"a@b.example","roles":["x"]}`)
	f.Fuzz(func(t *testing.T, format, file string) {
		rows := 0
		_ = readImport(strings.NewReader(file), format, func(r importRow) error {
			if rows++; r.line < 1 || r.fault == "" && r.fields == nil {
				t.Errorf("row %+v", r)
			}
			return nil
		})
	})
}
