package zone

func dataType() typ[[]Data] {
	table := object("table", "rights and fields",
		key("rights", oneOrList(oneOf("right", plainWords("select", "insert", "update", "delete", "read", "write"))), func(t *Table) *[]string { return &t.Rights },
			"what the service may do: select, insert, update, delete on SQL; read, write on a broker").must(),
		key("fields", fieldsType(), func(t *Table) *map[string]Field { return &t.Fields }, "the class of each field"),
	)
	tables := object("tables", "tables by name",
		&each[map[string]Table, string, Table]{dataName("table", `._*>-`), table, "a table, or a subject of a broker", func(all *map[string]Table, name string, _ Pos, t Table) {
			put(all, name, t)
		}})
	data := object("store of data", "engine, url and tables",
		key("engine", oneOf("engine", plainWords("postgres", "mysql", "nats", "redis", "rabbitmq")), func(d *Data) *string { return &d.Engine }, "what it is").must(),
		key("url", secret(), func(d *Data) *Secret { return &d.URL }, "the login with which Sallyport makes the service's own").must(),
		key("tables", tables, func(d *Data) *map[string]Table { return &d.Tables }, "what the service may use of it; the default is nothing"),
	)
	return object("data", "stores by name",
		&each[[]Data, string, Data]{dataName("data", `_-`), data, "a database or broker", func(all *[]Data, name string, _ Pos, d Data) {
			d.Name = name
			*all = append(*all, d)
		}})
}

func fieldsType() typ[map[string]Field] {
	class := oneOf("class", plainWords("public", "internal", "private", "secret"))
	long := object("field", "{class: CLASS, search: equal}",
		key("class", class, func(f *Field) *string { return &f.Class }, "private and secret fields are encrypted at rest").must(),
		key("search", oneOf("search", plainWords("equal")), func(f *Field) *string { return &f.Search }, "`equal`: the encrypted field can be looked up by its whole value"),
	)
	one := short(long, class, func(f *Field, class string) { f.Class = class })
	return object("fields", "fields by name",
		&each[map[string]Field, string, Field]{dataName("field", `._-`), one, "the class of the field", func(all *map[string]Field, name string, _ Pos, f Field) {
			put(all, name, f)
		}})
}

// dataName is a name of the outside world: of a database, table or field.
func dataName(what, more string) typ[string] {
	return matching(what+" name", "letters, digits and "+more, `^[A-Za-z_*>][A-Za-z0-9`+more+`]*$`, 128)
}

func put[V any](m *map[string]V, name string, v V) {
	if *m == nil {
		*m = map[string]V{}
	}
	(*m)[name] = v
}
