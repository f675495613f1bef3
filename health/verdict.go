package health

// verdict is a state that changes after a number of equal results in a row.
type verdict struct {
	up         bool
	rise, fall int // results in a row that change the state to up and to down
	against    int // results in a row against the present state
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

// changing reports whether the last results were against the present state.
func (v *verdict) changing() bool { return v.against > 0 }
