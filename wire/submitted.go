package wire

import "fmt"

// Fits reports whether an answer is one to this submission: of its kind, and about its extent. The error says what was
// answered instead. What the cell did is unknown then, and nothing that the answer names may be believed.
func (s *Submission) Fits(a *Submitted) error {
	switch admitted := a.Code == 0 && a.Plan == ""; {
	case a.Kind != "" && a.Kind != s.Kind:
		return s.misfit("a %s of extent %d (operation %q)", a.Kind, a.Extent, a.Op)
	case admitted && a.Op == "":
		return s.misfit("no operation")
	case s.Kind == "create" && admitted && a.Extent == 0:
		return s.misfit("a create of no extent (operation %q)", a.Op)
	case s.Kind == "create", a.Extent == s.Extent, !admitted && a.Extent == 0:
		return nil
	case s.Kind == "decommission", s.Kind == "recommission":
		return s.fitsNode(a)
	}
	return s.misfit("operation %q about extent %d", a.Op, a.Extent)
}

// fitsNode: an extent in the question means nothing to an operation about a node.
func (s *Submission) fitsNode(a *Submitted) error {
	if a.Extent != 0 {
		return s.misfit("operation %q about extent %d", a.Op, a.Extent)
	}
	return nil
}

func (s *Submission) misfit(format string, args ...any) error {
	asked := s.Kind
	switch {
	case s.Extent != 0:
		asked += fmt.Sprintf(" of extent %d", s.Extent)
	case s.Node != "":
		asked += " of node " + s.Node
	}
	return &Error{Op: OpSubmit, Code: CodeProtocol, Outcome: Unknown, Detail: fmt.Sprintf(
		"a %s was asked for, and the answer is to something else: %s; nothing that it names is believed; "+
			"see op ls for what was done",
		asked, fmt.Sprintf(format, args...))}
}
