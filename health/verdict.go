package health

// verdict is a state that changes after a number of results in a row.
type verdict struct {
	up         bool
	rise, fall int // results against the present state that change it
	against    int // such results in a row
}

func (v *verdict) add(ok bool) {
	if ok == v.up {
		v.against = 0
		return
	}
	needed := v.rise
	if v.up {
		needed = v.fall
	}
	if v.against++; v.against >= needed {
		v.up, v.against = ok, 0
	}
}

// turning says that there are results against the present state.
func (v *verdict) turning() bool { return v.against > 0 }
