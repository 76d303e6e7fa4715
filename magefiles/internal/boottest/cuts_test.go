package boottest

import (
	"testing"
	"time"
)

func TestChooseSpreadsTheMoments(t *testing.T) {
	var moments []moment
	for i := range 45 {
		moments = append(moments, moment{at: time.Duration(i)})
	}
	for range 100 {
		chosen := choose(moments, 20)
		if len(chosen) != 20 {
			t.Fatalf("%d moments, want 20", len(chosen))
		}
		for i, m := range chosen {
			if from, to := i*45/20, (i+1)*45/20; int(m.at) < from || int(m.at) >= to {
				t.Fatalf("moment %d is number %d of 45, want one of [%d, %d)", i, m.at, from, to)
			}
		}
	}
	if got := choose(moments[:3], 20); len(got) != 3 {
		t.Errorf("of 3 moments %d were chosen", len(got))
	}
	if got := choose(nil, 20); len(got) != 0 {
		t.Errorf("of no moments %d were chosen", len(got))
	}
}
