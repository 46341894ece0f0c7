// What travels between neighbouring PEs. Every word carries its own control bits; a word with valid = 0 is a bubble.
package words;
  typedef struct packed {  // along a row, left to right: an activation (ws), an operand (os)
    logic valid;
    logic first;  // of its fold: the swap of two weight registers (ws), a fresh accumulator (os)
    logic last;  // of its fold
    logic bottom;  // this row is the lowest the fold uses (os)
    logic signed [15:0] data;
  } row_word;

  typedef struct packed {  // down a column, from the top (os)
    logic valid;
    logic right;  // this column is the rightmost the fold uses
    logic signed [15:0] data;
  } column_word;

  typedef struct packed {  // down a column: a psum (ws), a result being shifted out (os)
    logic valid;
    logic final_one;  // the last result of its fold, for the controller that waits for it
    logic signed [31:0] data;
  } sum_word;
endpackage
