package check

import (
	"strconv"
	"testing"
)

func TestManyProblemsOfOneSortAreCounted(t *testing.T) {
	var texts []string
	for i := range shownAlike {
		texts = append(texts, strconv.Itoa(i))
	}
	var few, many Report
	few.addEach("mend it", "damaged", texts)
	many.addEach("mend it", "damaged", append(texts, "x", "y", "z"))
	if n := len(few.Findings); n != shownAlike || few.Findings[n-1] != (Finding{Problem, "damaged: 9", "mend it"}) {
		t.Errorf("%+v", few.Findings)
	}
	if n := len(many.Findings); n != shownAlike+1 || many.Findings[n-1] != (Finding{Problem, "damaged: and 3 more", "mend it"}) {
		t.Errorf("%+v", many.Findings)
	}
}
