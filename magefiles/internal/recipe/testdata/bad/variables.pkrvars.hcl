nobody     = "x"    # want: no variable "nobody"; its variables are
number     = "many" # want: The variable "number" is a number: a number is required
list       = "text" # want: The variable "list" is a list of string
listed     = "mars" # want: The planet must be earth. This is the rule of the variable "listed" at
expression = upper("x") # want: Function calls not allowed
other      = var.listed # want: Variables not allowed
block {                 # want: Unexpected "block" block
}
