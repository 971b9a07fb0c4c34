package chat

// expr is a node that has a value.
type expr interface{}

type (
	constExpr struct{ value Value }
	nameExpr  struct {
		name string
		line int
	}
	attrExpr struct {
		of   expr
		name string
	}
	itemExpr  struct{ of, key expr }
	sliceExpr struct{ lo, hi, step expr } // each may be nil; only as a key
	listExpr  struct {
		items []expr
		tuple bool
	}
	dictExpr struct{ keys, vals []expr }
	callExpr struct {
		fn   expr
		args argList
	}
	filterExpr struct {
		of   expr // nil: the body of the statement around it
		name string
		args argList
	}
	testExpr struct {
		of   expr
		name string
		args argList
	}
	unaryExpr struct {
		op string
		of expr
	}
	binaryExpr struct {
		op          string
		left, right expr
	}
	concatExpr  struct{ items []expr }
	compareExpr struct {
		first expr
		ops   []string
		rest  []expr
	}
	notExpr  struct{ of expr }
	andExpr  struct{ left, right expr }
	orExpr   struct{ left, right expr }
	condExpr struct{ test, then, otherwise expr } // otherwise may be nil
)

// argList are the arguments of a call.
type argList struct {
	positional []expr
	names      []string
	named      []expr
	star       expr // *args
	starStar   expr // **kwargs
}

// target is what an assignment or a loop sets: a name, an attribute of a namespace, or a tuple of targets.
type target struct {
	name  string
	attr  string
	items []target
	tuple bool
}

// stmt is a node that acts. line is where errors in it are reported.
type stmt interface{}

type (
	dataStmt   struct{ text text }
	outputStmt struct {
		line  int
		items []expr
	}
	ifStmt struct {
		branches  []branch
		otherwise []stmt
	}
	branch struct {
		line int
		test expr
		body []stmt
	}
	forStmt struct {
		line      int
		target    target
		over      expr
		test      expr // nil: all
		recursive bool
		body      []stmt
		otherwise []stmt
	}
	setStmt struct {
		line   int
		target target
		value  expr
	}
	setBlockStmt struct {
		line   int
		target target
		filter *filterExpr // may be nil
		body   []stmt
	}
	withStmt struct {
		line    int
		targets []target
		values  []expr
		body    []stmt
	}
	macroStmt struct {
		line int
		macroDef
	}
	callStmt struct {
		line   int
		call   *callExpr
		caller macroDef
	}
	filterStmt struct {
		line   int
		filter *filterExpr
		body   []stmt
	}
	// captureStmt is {% generation %}: its body is rendered on its own.
	captureStmt struct{ body []stmt }
	// blockStmt is {% block %}: its body sees the outermost variables only.
	blockStmt struct{ body []stmt }
	scopeStmt struct{ body []stmt }
	breakStmt struct{}
	nextStmt  struct{} // continue
)

// macroDef is a macro or the body of a call block.
type macroDef struct {
	name     string
	params   []string
	defaults []expr // of the last parameters
	body     []stmt
	// The body mentions these, so calls may hand over more than the parameters.
	varargs, kwargs, caller bool
}
